//! Rows to domain values and back.

use std::str::FromStr;
use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::domain::amount::{Amount, Quantity};
use crate::domain::event::Commission;
use crate::domain::ids::{ClientOrderId, EntryId, OrderId, RequestKey};
use crate::domain::ledger::{Lease, OrderRecord, RequestRecord, Target};
use crate::domain::order::{ContentHash, Order, OrderSpec, OrderState};
use crate::domain::position::Position;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::{Outcome, OutcomeResult, RequestKind};
use crate::domain::risk::{Limit, LimitRow};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::domain::trade::{BookedTrade, TradeTerms};

/// A value in the database that cannot be what it should be.
pub(super) fn unreadable(column: &'static str, why: impl ToString) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: why.to_string().into() }
}

pub(super) fn parse<T: FromStr<Err: ToString>>(
    row: &SqliteRow,
    column: &'static str,
) -> Result<T, sqlx::Error> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|error: T::Err| unreadable(column, format!("{text}: {}", error.to_string())))
}

pub(super) fn unsigned(row: &SqliteRow, column: &'static str) -> Result<u64, sqlx::Error> {
    row.try_get(column).map(i64::cast_unsigned)
}

/// The same bits: stream entry ids use all 64 of them.
pub(super) const fn signed(value: u64) -> i64 {
    value.cast_signed()
}

pub(super) fn timestamp(row: &SqliteRow, column: &'static str) -> Result<Timestamp, sqlx::Error> {
    row.try_get(column).map(Timestamp::from_micros)
}

pub(super) fn hash(row: &SqliteRow, column: &'static str) -> Result<ContentHash, sqlx::Error> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map(ContentHash).map_err(|error| unreadable(column, error))
}

pub(super) fn request_key(row: &SqliteRow) -> Result<RequestKey, sqlx::Error> {
    let lane: &str = row.try_get("lane")?;
    let entry = EntryId { ms: unsigned(row, "entry_ms")?, seq: unsigned(row, "entry_seq")? };
    Ok(RequestKey { lane: lane.into(), entry })
}

pub(super) fn order_id(row: &SqliteRow, column: &'static str) -> Result<Option<OrderId>, sqlx::Error> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| text.parse().map(OrderId).map_err(|error| unreadable(column, error))).transpose()
}

pub(super) fn order(row: &SqliteRow) -> Result<OrderRecord, sqlx::Error> {
    let spec: OrderSpec =
        serde_json::from_str(row.try_get("spec")?).map_err(|error| unreadable("spec", error))?;
    let state: OrderState =
        serde_json::from_str(row.try_get("state")?).map_err(|error| unreadable("state", error))?;
    let broker = spec.broker.clone().ok_or_else(|| unreadable("spec", "no broker"))?;
    let owner: &str = row.try_get("lease_owner")?;
    Ok(OrderRecord {
        order: Arc::new(Order { broker, spec, state }),
        admission: unsigned(row, "admission")?,
        request: request_key(row)?,
        request_hash: hash(row, "request_hash")?,
        content_hash: hash(row, "content_hash")?,
        answered: row.try_get("answered")?,
        lease: Lease {
            owner: Arc::from(owner),
            epoch: unsigned(row, "lease_epoch")?,
            until: timestamp(row, "lease_until_us")?,
        },
    })
}

pub(super) fn request(row: &SqliteRow) -> Result<RequestRecord, sqlx::Error> {
    let kind: &str = row.try_get("kind")?;
    let attempt: Option<i64> = row.try_get("attempt_version")?;
    Ok(RequestRecord {
        key: request_key(row)?,
        hash: hash(row, "hash")?,
        kind: RequestKind::from_text(kind).ok_or_else(|| unreadable("kind", kind))?,
        order_id: order_id(row, "order_id")?,
        attempt_version: attempt
            .map(u64::try_from)
            .transpose()
            .map_err(|e| unreadable("attempt_version", e))?,
        received_at: timestamp(row, "received_us")?,
        open: row.try_get("open")?,
    })
}

pub(super) fn target(row: &SqliteRow) -> Result<Target, sqlx::Error> {
    Ok(Target {
        order_id: order_id(row, "order_id")?.ok_or_else(|| unreadable("order_id", "missing"))?,
        client_order_id: parse(row, "client_order_id")?,
        settled: row.try_get("settled")?,
        refusal: row.try_get("refusal")?,
    })
}

pub(super) fn outcome(row: &SqliteRow) -> Result<Outcome, sqlx::Error> {
    let status: Option<&str> = row.try_get("status")?;
    let status =
        status.map(|text| Status::from_text(text).ok_or_else(|| unreadable("status", text))).transpose()?;
    let code: Option<&str> = row.try_get("code")?;
    let details: Option<&str> = row.try_get("details")?;
    let result = match code {
        None if details.is_some() => {
            let swept = serde_json::from_str(details.unwrap_or_default());
            OutcomeResult::Swept(swept.map_err(|error| unreadable("details", error))?)
        }
        None => OutcomeResult::Completed(status.ok_or_else(|| unreadable("status", "missing"))?),
        Some(text) => {
            let code = Code::from_text(text).ok_or_else(|| unreadable("code", text))?;
            let error: Option<String> = row.try_get("error")?;
            let refusal = Refusal { code, reason: error.unwrap_or_default() };
            OutcomeResult::Failed { refusal, status, payload: row.try_get("payload")? }
        }
    };
    let kind: &str = row.try_get("request")?;
    let client_id: Option<&str> = row.try_get("client_order_id")?;
    let client_order_id: Option<ClientOrderId> =
        client_id.map(|id| id.parse().map_err(|error| unreadable("client_order_id", error))).transpose()?;
    Ok(Outcome {
        key: request_key(row)?,
        hash: hash(row, "hash")?,
        request: RequestKind::from_text(kind).ok_or_else(|| unreadable("request", kind))?,
        order_id: order_id(row, "order_id")?,
        client_order_id,
        result,
        order_version: unsigned(row, "order_version")?,
        timestamp: timestamp(row, "at_us")?,
    })
}

pub(super) fn position(row: &SqliteRow) -> Result<Position, sqlx::Error> {
    Ok(Position {
        quantity: parse::<Amount>(row, "quantity")?,
        cost: parse(row, "cost")?,
        realized_pnl: parse(row, "realized_pnl")?,
        commission: parse(row, "commission")?,
        sequence: unsigned(row, "sequence")?,
        closed_at: unsigned(row, "closed_at")?,
        reserved_buy: parse::<Quantity>(row, "reserved_buy")?,
        reserved_sell: parse(row, "reserved_sell")?,
    })
}

pub(super) fn trade(row: &SqliteRow) -> Result<BookedTrade, sqlx::Error> {
    let text = |column| row.try_get::<Option<&str>, _>(column);
    let revision: i64 = row.try_get("revision")?;
    let commission = match (text("commission_asset")?, text("commission")?) {
        (Some(asset), Some(_)) => {
            let quote_value =
                text("commission_quote")?.map(|_| parse(row, "commission_quote")).transpose()?;
            Some(Commission { asset: asset.to_owned(), amount: parse(row, "commission")?, quote_value })
        }
        _ => None,
    };
    let terms = match text("quantity")? {
        None => None,
        Some(_) => {
            Some(TradeTerms { quantity: parse(row, "quantity")?, price: parse(row, "price")?, commission })
        }
    };
    Ok(BookedTrade {
        terms,
        booked_at: unsigned(row, "position_sequence")?,
        at: timestamp(row, "executed_us")?,
        revision: u32::try_from(revision).map_err(|error| unreadable("revision", error))?,
    })
}

const UNLIMITED: &str = "unlimited";

pub(super) fn limit_text(limit: Limit) -> String {
    limit.at().map_or_else(|| UNLIMITED.to_owned(), |limit| limit.to_string())
}

fn limit(row: &SqliteRow, column: &'static str) -> Result<Limit, sqlx::Error> {
    let text: &str = row.try_get(column)?;
    if text == UNLIMITED {
        Ok(Limit::Unlimited)
    } else {
        parse::<Amount>(row, column).map(|a| Limit::At(a.get()))
    }
}

pub(super) fn limits(row: &SqliteRow) -> Result<LimitRow, sqlx::Error> {
    let symbol: &str = row.try_get("symbol")?;
    Ok(LimitRow {
        symbol: symbol.into(),
        max_order_quantity: limit(row, "max_order_quantity")?,
        max_order_notional: limit(row, "max_order_notional")?,
        max_position: limit(row, "max_position")?,
        max_daily_loss: limit(row, "max_daily_loss")?,
        price_collar_pct: limit(row, "price_collar_pct")?,
        max_orders_per_second: limit(row, "max_orders_per_second")?,
    })
}
