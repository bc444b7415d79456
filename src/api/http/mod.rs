//! HTTP: health, metrics, what the journal says, and a page for people. It only reads.

mod connection;
mod error;
mod guard;
mod health;
mod orders;
mod page;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, Uri};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::api::position::{Marks, PositionRow};
use crate::ports::clock::Clock;
use crate::ports::journal::JournalReader;
use crate::runtime::health::Health;
use crate::runtime::metrics::Metrics;
use crate::runtime::shutdown::Token;

use connection::Bounded;
use error::ApiError;
use page::Page;

/// How long requests under way may take to end once the server is to stop.
const GRACE: Duration = Duration::from_secs(2);

/// What HTTP shows.
#[derive(Clone)]
pub struct Sources {
    pub journal: Arc<dyn JournalReader>,
    pub marks: Marks,
    pub health: Health,
    pub metrics: Metrics,
    pub clock: Arc<dyn Clock>,
    /// `http.token`
    pub token: Option<SecretString>,
    /// A command line that adds an order, shown on the page while there are none. Holds no secret.
    pub example: String,
}

#[derive(Debug, thiserror::Error)]
#[error("http.listen = {listen}: cannot listen there: {source}")]
pub struct HttpError {
    pub listen: SocketAddr,
    #[source]
    pub source: io::Error,
}

struct Shared {
    sources: Sources,
    page: Page,
}

type Shows = State<Arc<Shared>>;

/// Serves until `shutdown`; returns the address, whose port is a free one where `listen` has port 0. So that
/// readiness can be seen while a worker drains, `shutdown` comes after the drain.
pub async fn serve(
    listen: SocketAddr,
    sources: Sources,
    shutdown: Token,
) -> Result<(SocketAddr, JoinHandle<()>), HttpError> {
    let failed = |source| HttpError { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let router = router(sources);
    let stop = shutdown.clone();
    let serving = axum::serve(Bounded::new(listener), router)
        .with_graceful_shutdown(async move { stop.cancelled().await });
    let task = tokio::spawn(async move {
        let too_late = async {
            shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = serving => if let Err(error) = ended {
                tracing::error!(%error, "http ended");
            },
            () = too_late => tracing::warn!("http requests under way were cut off"),
        }
    });
    tracing::info!(%address, "http listening");
    Ok((address, task))
}

fn router(sources: Sources) -> Router {
    let shared = Arc::new(Shared { page: Page::new(&sources.example), sources });
    Router::new()
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/", get(show_page))
        .route("/api/orders", get(orders::list))
        .route("/api/orders/{id}", get(orders::one))
        .route("/api/orders/{id}/events", get(orders::events))
        .route("/api/positions", get(positions))
        .fallback(not_found)
        .method_not_allowed_fallback(only_get)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::token))
        .layer(middleware::from_fn(guard::bounds))
        .with_state(shared)
}

async fn show_page(State(shared): Shows) -> Response {
    shared.page.show()
}

async fn positions(State(shared): Shows) -> Result<Json<Vec<PositionRow>>, ApiError> {
    let sources = &shared.sources;
    let positions = sources.journal.positions().await?;
    Ok(Json(sources.marks.value(positions).await))
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::not_found(format!(
        "nothing is at {}; there are /, /health, /health/live, /health/ready, /metrics, /api/orders, \
         /api/orders/<client_order_id or id>, /api/orders/<client_order_id or id>/events and /api/positions \
         (a slash in an id is written %2F)",
        uri.path()
    ))
}

async fn only_get(method: Method, uri: Uri) -> ApiError {
    ApiError::method_not_allowed(format!(
        "{method} {}: only GET is answered; HTTP changes nothing here",
        uri.path()
    ))
}
