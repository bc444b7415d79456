//! `cancel`

use uuid::Uuid;

use crate::app::AppError;
use crate::domain::ids::ClientOrderId;

use super::fields::Fields;
use super::request::{self, Request, Waiting};
use super::{Call, Ending};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution cancel signal-42 --wait
  order-execution cancel --order-id 019f6f3e-0000-7000-8000-000000000000 --json

Exit codes: 0 added (with --wait: cancelled), 1 failed (no such order, too late), or no outcome in time,
2 wrong usage, 3 refused, 4 Redis is unreachable.";

#[derive(Debug, clap::Args)]
pub(super) struct Cancel {
    /// The order's name
    #[arg(required_unless_present = "order_id", conflicts_with = "order_id")]
    client_order_id: Option<ClientOrderId>,
    /// The order's UUID, instead of its name
    #[arg(long, value_name = "UUID")]
    order_id: Option<Uuid>,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(call: &Call, cancel: &Cancel) -> Result<Ending, AppError> {
    let client_order_id = cancel.client_order_id.as_ref().map(ToString::to_string);
    let mut which = Fields::default();
    which.put_some("client_order_id", client_order_id.as_ref());
    which.put_some("order_id", cancel.order_id.as_ref());
    let id = client_order_id.clone().or_else(|| cancel.order_id.map(|id| id.to_string()));
    let request = Request { field: "cancel", json: which.to_string(), id, client_order_id, made_id: None };
    request::run(call, &request, &cancel.waiting).await
}
