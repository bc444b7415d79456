//! Orders, as the journal has them.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use crate::domain::ids::{ClientOrderId, OrderId};
use crate::domain::order::Order;
use crate::domain::request::OrderRef;
use crate::domain::status::Status;
use crate::ports::journal::{JournalReader, OrderFilter};
use crate::wire::order_json;

use super::Shows;
use super::error::ApiError;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;

type Pairs = Query<Vec<(String, String)>>;

pub(super) async fn list(
    State(shared): Shows,
    query: Result<Pairs, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(pairs) = query
        .map_err(|_| ApiError::bad_request("the query string is not of the form name=value&name=value"))?;
    let orders = shared.sources.journal.orders(&filter(&pairs)?).await?;
    let mut body = String::with_capacity(2 + orders.len() * 1024);
    body.push('[');
    for (n, order) in orders.iter().enumerate() {
        if n > 0 {
            body.push(',');
        }
        body.push_str(&order_json(order));
    }
    body.push(']');
    Ok(json_text(body))
}

pub(super) async fn one(
    State(shared): Shows,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let order = find(&*shared.sources.journal, id).await?;
    Ok(json_text(order_json(&order)))
}

pub(super) async fn events(
    State(shared): Shows,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let journal = &*shared.sources.journal;
    let order = find(journal, id).await?;
    let events = journal.events(order.spec.id).await?;
    Ok(axum::Json(events).into_response())
}

/// By client order id, else by id: a producer may well use UUIDs as client order ids.
async fn find(
    journal: &dyn JournalReader,
    id: Result<Path<String>, PathRejection>,
) -> Result<Order, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::bad_request("the id in the path is not UTF-8"))?;
    let client: ClientOrderId = id.parse().map_err(|error| {
        ApiError::bad_request(format!("{id:?} is neither a client_order_id, which {error}, nor a UUID"))
    })?;
    if let Some(order) = journal.order(&OrderRef::Client(client)).await? {
        return Ok(order);
    }
    if let Ok(uuid) = id.parse::<Uuid>()
        && let Some(order) = journal.order(&OrderRef::Order(OrderId(uuid))).await?
    {
        return Ok(order);
    }
    Err(ApiError::not_found(format!("no order has the client_order_id or id {id}")))
}

fn filter(pairs: &[(String, String)]) -> Result<OrderFilter, ApiError> {
    let mut filter = OrderFilter { limit: DEFAULT_LIMIT, ..OrderFilter::default() };
    for (n, (name, value)) in pairs.iter().enumerate() {
        if pairs.iter().take(n).any(|(earlier, _)| earlier == name) {
            return Err(ApiError::bad_request(format!("{name} is given twice")));
        }
        let refuse = |right: &str| ApiError::bad_request(format!("{name} = {value:?}: {right}"));
        match name.as_str() {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                filter.limit =
                    limit.ok_or_else(|| refuse(&format!("must be a whole number from 1 to {MAX_LIMIT}")))?;
            }
            "symbol" => filter.symbol = Some(value.parse().map_err(|error| refuse(&format!("{error}")))?),
            "status" => filter.status = Some(Status::from_text(value).ok_or_else(|| refuse(&statuses()))?),
            "open" => filter.open = value.parse().map_err(|_| refuse("must be true or false"))?,
            "strategy_id" => filter.strategy_id = Some(value.clone()),
            _ => {
                return Err(ApiError::bad_request(format!(
                    "{name} is not a parameter; there are limit, symbol, status, open and strategy_id"
                )));
            }
        }
    }
    Ok(filter)
}

fn statuses() -> String {
    format!("must be one of {}", Status::ALL.map(Status::as_str).join(", "))
}

fn json_text(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
