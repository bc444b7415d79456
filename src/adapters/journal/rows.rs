//! Rows to domain values and back, whichever database they are of.

use std::str::FromStr;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use crate::domain::amount::{Amount, Quantity};
use crate::domain::circuit::Circuit;
use crate::domain::contract::Contract;
use crate::domain::control::Control;
use crate::domain::event::{Commission, OrderEvent};
use crate::domain::ids::{BrokerName, ClientOrderId, EntryId, OrderId, RequestKey, Symbol};
use crate::domain::ledger::{FillsOf, Lease, Ledger, OrderRecord, RequestRecord, SessionKey, Target};
use crate::domain::order::{ContentHash, Order, OrderSpec, OrderState};
use crate::domain::order_type::Side;
use crate::domain::position::{Book, Position};
use crate::domain::rebuild::Rebuild;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::{Outcome, OutcomeResult, RequestKind};
use crate::domain::risk::{LimitRow, Limits};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::domain::trade::{BookedTrade, TradeTerms};
use crate::domain::trading_state::Scope;
use crate::ports::journal::{Abandoned, ControlEntry, History, RiskCounters, TradeRow};

/// A row of either database: the columns have the same names, amounts come as exact decimal text.
pub(super) trait Row {
    fn text_or_null(&self, column: &'static str) -> Result<Option<&str>, sqlx::Error>;
    fn integer_or_null(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error>;
    fn bytes_or_null(&self, column: &'static str) -> Result<Option<&[u8]>, sqlx::Error>;
    fn flag(&self, column: &'static str) -> Result<bool, sqlx::Error>;

    fn text(&self, column: &'static str) -> Result<&str, sqlx::Error> {
        self.text_or_null(column)?.ok_or_else(|| unreadable(column, "NULL"))
    }

    fn integer(&self, column: &'static str) -> Result<i64, sqlx::Error> {
        self.integer_or_null(column)?.ok_or_else(|| unreadable(column, "NULL"))
    }
}

macro_rules! row {
    ($row:ty) => {
        impl Row for $row {
            fn text_or_null(&self, column: &'static str) -> Result<Option<&str>, sqlx::Error> {
                self.try_get(column)
            }

            fn integer_or_null(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error> {
                self.try_get(column)
            }

            fn bytes_or_null(&self, column: &'static str) -> Result<Option<&[u8]>, sqlx::Error> {
                self.try_get(column)
            }

            fn flag(&self, column: &'static str) -> Result<bool, sqlx::Error> {
                self.try_get(column)
            }
        }
    };
}
row!(SqliteRow);
row!(PgRow);

/// A value in the database that cannot be what it should be.
pub(super) fn unreadable(column: &'static str, why: impl ToString) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: why.to_string().into() }
}

pub(super) fn parse<T: FromStr<Err: ToString>>(
    row: &impl Row,
    column: &'static str,
) -> Result<T, sqlx::Error> {
    let text = row.text(column)?;
    text.parse().map_err(|error: T::Err| unreadable(column, format!("{text}: {}", error.to_string())))
}

pub(super) fn unsigned(row: &impl Row, column: &'static str) -> Result<u64, sqlx::Error> {
    row.integer(column).map(i64::cast_unsigned)
}

/// The same bits: stream entry ids use all 64 of them.
pub(super) const fn signed(value: u64) -> i64 {
    value.cast_signed()
}

pub(super) fn timestamp(row: &impl Row, column: &'static str) -> Result<Timestamp, sqlx::Error> {
    row.integer(column).map(Timestamp::from_micros)
}

pub(super) fn hash(row: &impl Row, column: &'static str) -> Result<ContentHash, sqlx::Error> {
    let bytes = row.bytes_or_null(column)?.unwrap_or_default();
    bytes.try_into().map(ContentHash).map_err(|error| unreadable(column, error))
}

/// How far the times of two commits that follow each other may be out of order: transactions that went on side by side,
/// and clocks that were set.
pub(super) const OUT_OF_ORDER_US: i64 = 60_000_000;

pub(super) fn request_key(row: &impl Row) -> Result<RequestKey, sqlx::Error> {
    let lane = row.text("lane")?;
    let entry = EntryId { ms: unsigned(row, "entry_ms")?, seq: unsigned(row, "entry_seq")? };
    Ok(RequestKey { lane: lane.into(), entry })
}

pub(super) fn order_id(row: &impl Row, column: &'static str) -> Result<Option<OrderId>, sqlx::Error> {
    let text = row.text_or_null(column)?;
    text.map(|text| text.parse().map(OrderId).map_err(|error| unreadable(column, error))).transpose()
}

pub(super) fn order(row: &impl Row) -> Result<OrderRecord, sqlx::Error> {
    let spec: OrderSpec =
        serde_json::from_str(row.text("spec")?).map_err(|error| unreadable("spec", error))?;
    let state: OrderState =
        serde_json::from_str(row.text("state")?).map_err(|error| unreadable("state", error))?;
    let broker = spec.broker.clone().ok_or_else(|| unreadable("spec", "no broker"))?;
    let owner = row.text("lease_owner")?;
    Ok(OrderRecord {
        order: Arc::new(Order { broker, spec, state }),
        admission: unsigned(row, "admission")?,
        request: request_key(row)?,
        request_hash: hash(row, "request_hash")?,
        content_hash: hash(row, "content_hash")?,
        answered: row.flag("answered")?,
        lease: Lease {
            owner: Arc::from(owner),
            epoch: unsigned(row, "lease_epoch")?,
            until: timestamp(row, "lease_until_us")?,
        },
    })
}

pub(super) fn request(row: &impl Row) -> Result<RequestRecord, sqlx::Error> {
    let kind = row.text("kind")?;
    let attempt = row.integer_or_null("attempt_version")?;
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
        open: row.flag("open")?,
    })
}

pub(super) fn target(row: &impl Row) -> Result<Target, sqlx::Error> {
    Ok(Target {
        order_id: order_id(row, "order_id")?.ok_or_else(|| unreadable("order_id", "missing"))?,
        client_order_id: parse(row, "client_order_id")?,
        settled: row.flag("settled")?,
        refusal: row.text_or_null("refusal")?.map(str::to_owned),
    })
}

pub(super) fn outcome(row: &impl Row) -> Result<Outcome, sqlx::Error> {
    let status = row.text_or_null("status")?;
    let status =
        status.map(|text| Status::from_text(text).ok_or_else(|| unreadable("status", text))).transpose()?;
    let code = row.text_or_null("code")?;
    let details = row.text_or_null("details")?;
    let result = match code {
        None if details.is_some() => {
            let swept = serde_json::from_str(details.unwrap_or_default());
            OutcomeResult::Swept(swept.map_err(|error| unreadable("details", error))?)
        }
        None => OutcomeResult::Completed(status.ok_or_else(|| unreadable("status", "missing"))?),
        Some(text) => {
            let code = Code::from_text(text).ok_or_else(|| unreadable("code", text))?;
            let reason = row.text_or_null("error")?.unwrap_or_default().to_owned();
            let payload = row.bytes_or_null("payload")?.map(<[u8]>::to_vec);
            OutcomeResult::Failed { refusal: Refusal { code, reason }, status, payload }
        }
    };
    let kind = row.text("request")?;
    let client_id = row.text_or_null("client_order_id")?;
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

pub(super) fn position(row: &impl Row) -> Result<Position, sqlx::Error> {
    Ok(Position {
        quantity: parse::<Amount>(row, "quantity")?,
        cost: parse(row, "cost")?,
        realized_pnl: parse(row, "realized_pnl")?,
        commission: parse(row, "commission")?,
        unvalued_commissions: unsigned(row, "unvalued_commissions")?,
        account_pnl: parse(row, "account_pnl")?,
        sequence: unsigned(row, "sequence")?,
        closed_at: unsigned(row, "closed_at")?,
        reserved_buy: parse::<Quantity>(row, "reserved_buy")?,
        reserved_sell: parse(row, "reserved_sell")?,
        open_orders: unsigned(row, "open_orders")?,
        contract: contract(row)?,
    })
}

/// Whose position a row is.
pub(super) fn book(row: &impl Row) -> Result<Book, sqlx::Error> {
    let (broker, symbol) = instrument(row)?;
    Ok(Book { broker, symbol, strategy: strategy(row)? })
}

fn strategy(row: &impl Row) -> Result<Option<Arc<str>>, sqlx::Error> {
    let text = row.text("strategy_id")?;
    Ok((!text.is_empty()).then(|| text.into()))
}

/// `NULL` for a plain one.
pub(super) fn contract_text(contract: Option<&Contract>) -> Result<Option<String>, sqlx::Error> {
    let json = contract.map(serde_json::to_string).transpose();
    json.map_err(|error| sqlx::Error::Encode(error.into()))
}

fn contract(row: &impl Row) -> Result<Option<Arc<Contract>>, sqlx::Error> {
    let text = row.text_or_null("contract")?;
    let read = |text| serde_json::from_str(text).map_err(|error| unreadable("contract", error));
    text.map(read).transpose()
}

pub(super) fn scope(row: &impl Row) -> Result<Scope, sqlx::Error> {
    let (kind, name) = (row.text("scope")?, row.text("name")?);
    Scope::from_columns(kind, name).ok_or_else(|| unreadable("scope", format!("{kind} {name}")))
}

pub(super) fn session(row: &impl Row) -> Result<(SessionKey, Timestamp, Amount), sqlx::Error> {
    let of_a_book = row.text("scope")?.is_empty();
    let key = SessionKey { scope: if of_a_book { None } else { Some(scope(row)?) }, book: book(row)? };
    Ok((key, timestamp(row, "start_us")?, parse(row, "base")?))
}

pub(super) fn fills(row: &impl Row) -> Result<(FillsOf, Timestamp, u64), sqlx::Error> {
    let side = if row.text("side")? == Side::Buy.as_str() { Side::Buy } else { Side::Sell };
    let of = FillsOf { strategy: strategy(row)?, symbol: parse(row, "symbol")?, side };
    Ok((of, timestamp(row, "at_us")?, unsigned(row, "fills")?))
}

pub(super) fn trade(row: &impl Row) -> Result<BookedTrade, sqlx::Error> {
    let text = |column| row.text_or_null(column);
    let revision = row.integer("revision")?;
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
        Some(_) => Some(TradeTerms {
            quantity: parse(row, "quantity")?,
            price: parse(row, "price")?,
            commission,
            contract: contract(row)?,
        }),
    };
    Ok(BookedTrade {
        terms,
        booked_at: unsigned(row, "position_sequence")?,
        at: timestamp(row, "executed_us")?,
        revision: u32::try_from(revision).map_err(|error| unreadable("revision", error))?,
    })
}

pub(super) fn events(row: &impl Row) -> Result<Vec<OrderEvent>, sqlx::Error> {
    serde_json::from_str(row.text("events")?).map_err(|error| unreadable("events", error))
}

pub(super) fn instrument(row: &impl Row) -> Result<(BrokerName, Symbol), sqlx::Error> {
    Ok((parse(row, "broker")?, parse(row, "symbol")?))
}

pub(super) fn abandoned(row: &impl Row) -> Result<Abandoned, sqlx::Error> {
    Ok(Abandoned {
        key: request_key(row)?,
        hash: hash(row, "hash")?,
        instrument: row.text_or_null("broker")?.map(|_| instrument(row)).transpose()?,
        received_at: timestamp(row, "received_us")?,
    })
}

/// An order with its searchable columns, its commits and its trades.
pub(super) fn history<R: Row>(
    row: &R,
    columns: &R,
    commits: &[R],
    trades: &[R],
) -> Result<History, sqlx::Error> {
    let record = order(row)?;
    let mut all = Vec::new();
    for commit in commits {
        all.extend(events(commit)?);
    }
    let trades = trades
        .iter()
        .map(|row| Ok(TradeRow { trade_id: row.text("trade_id")?.to_owned(), trade: trade(row)? }));
    Ok(History {
        admission: record.admission,
        columns: [
            ("status", columns.text("status")?.to_owned()),
            ("quantity", columns.text("quantity")?.to_owned()),
            ("filled_quantity", columns.text("filled_quantity")?.to_owned()),
            (
                "average_fill_price",
                columns.text_or_null("average_fill_price")?.unwrap_or_default().to_owned(),
            ),
            ("version", unsigned(columns, "version")?.to_string()),
            ("ends_us", columns.integer_or_null("ends_us")?.map(|us| us.to_string()).unwrap_or_default()),
            ("parked", columns.flag("parked")?.to_string()),
        ],
        order: Arc::unwrap_or_clone(record.order),
        events: all,
        trades: trades.collect::<Result<_, sqlx::Error>>()?,
    })
}

/// A change of what holds for all orders.
pub(super) fn control_entry(row: &impl Row) -> Result<ControlEntry, sqlx::Error> {
    Ok(ControlEntry {
        number: unsigned(row, "seq")?,
        at: timestamp(row, "at_us")?,
        event: serde_json::from_str(row.text("event")?).map_err(|error| unreadable("event", error))?,
    })
}

pub(super) fn risk_counters<R: Row>(recent: &[R], sessions: &[R]) -> Result<RiskCounters, sqlx::Error> {
    let recent = recent.iter().map(|row| Ok((scope(row)?, unsigned(row, "orders")?)));
    let session = |row: &R| session(row).map(|(key, start, base)| (key, (start, base)));
    Ok(RiskCounters {
        recent_orders: recent.collect::<Result<_, sqlx::Error>>()?,
        sessions: sessions.iter().map(session).collect::<Result<_, sqlx::Error>>()?,
    })
}

/// What holds for all orders.
pub(super) fn control<R: Row>(
    revision: u64,
    limit_rows: &[R],
    switches: &[R],
    circuits: &[R],
) -> Result<Control, sqlx::Error> {
    let mut control = Control { revision, ..Control::default() };
    let limit = |row: &R| serde_json::from_str(row.text("row")?).map_err(|error| unreadable("row", error));
    let limits: Vec<LimitRow> = limit_rows.iter().map(limit).collect::<Result<_, sqlx::Error>>()?;
    control.limits = Limits::of_rows(&limits);
    for row in switches {
        let switch = serde_json::from_str(row.text("event")?).map_err(|error| unreadable("event", error))?;
        control.trading.restore(switch);
    }
    for row in circuits {
        let circuit: Circuit =
            serde_json::from_str(row.text("event")?).map_err(|error| unreadable("event", error))?;
        control.circuits.insert(circuit.broker.clone(), circuit);
    }
    Ok(control)
}

/// Books that were added up anew, for a ledger that writes all of them.
pub(super) fn rebuilt(rebuild: Rebuild, mut ledger: Ledger) -> Result<Ledger, sqlx::Error> {
    for one in rebuild.finish() {
        let position = one.position.ok_or_else(|| unreadable("quantity", "trades are too large to add"))?;
        ledger.changes.positions.insert(one.book.clone());
        ledger.positions.insert(one.book, position);
    }
    Ok(ledger)
}
