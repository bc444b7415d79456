//! HTTP of the exchange: a thin shell around the sequencer.

mod body;
mod connection;
mod control;
mod orders;
mod perform;
mod reply;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post, put};
use tokio::net::TcpListener;

use crate::runtime::shutdown::Token;

use super::sequencer::{Now, Sequencer};
use connection::{Bounded, Cut};
use perform::Shared;
use reply::Reply;

/// How long requests under way may take to end once the exchange is to stop.
const GRACE: Duration = Duration::from_secs(2);

/// Serves until `shutdown`.
pub(super) async fn serve(
    listener: TcpListener,
    sequencer: Sequencer,
    now: Now,
    shutdown: Token,
) -> io::Result<()> {
    let router = router(Arc::new(Shared::new(sequencer, now)));
    let service = router.into_make_service_with_connect_info::<Cut>();
    let stop = shutdown.clone();
    let serving = axum::serve(Bounded::new(listener), service)
        .with_graceful_shutdown(async move { stop.cancelled().await });
    let too_late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = async { serving.await } => ended,
        () = too_late => Ok(()),
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/orders", post(orders::submit).get(orders::open_orders))
        .route("/orders/{id}", get(orders::query).delete(orders::cancel).put(orders::replace))
        .route("/positions", get(orders::positions))
        .route("/transactions", get(orders::transactions))
        .route("/time", get(time))
        .route("/control/prices", put(control::set_prices))
        .route(
            "/control/faults",
            get(control::show_faults).post(control::set_faults).delete(control::remove_faults),
        )
        .route("/control/trades/{id}", post(control::revise_trade))
        .route("/control/ledger", get(control::ledger))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(shared)
}

async fn time(State(shared): State<Arc<Shared>>) -> Response {
    shared.tell(Reply::done())
}

async fn not_found(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let message = format!(
        "nothing is at {}; there are /orders, /orders/<client_order_id> (a slash in it is written %2F), \
         /positions, /transactions, /time, /control/prices, /control/trades/<trade_id>, /control/faults and /control/ledger",
        uri.path()
    );
    shared.tell(Reply::error(StatusCode::NOT_FOUND, "NOT_FOUND", message))
}

async fn not_allowed(State(shared): State<Arc<Shared>>, method: Method, uri: Uri) -> Response {
    let message = format!("{method} is not answered at {}", uri.path());
    shared.tell(Reply::error(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message))
}
