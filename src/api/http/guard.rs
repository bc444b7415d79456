//! What every request passes: the token, a bound on time, headers that keep browsers careful.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::Shared;
use super::error::ApiError;

/// How long an answer may take. Nothing here reads a request's body, so none is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

pub(super) const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"order-execution\"");
const NOTHING_MAY_LOAD: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Everything but health and metrics needs the token, where one is configured.
pub(super) async fn token(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let Some(token) = &shared.sources.token else { return next.run(request).await };
    let path = request.uri().path();
    if is_open(path) || is_bearer(request.headers(), token.expose_secret()) {
        return next.run(request).await;
    }
    // A browser cannot be told the token but by a page that asks for it. The page holds no data.
    if path == "/" {
        let mut response = shared.page.ask_for_token();
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
        return response;
    }
    let why = if request.headers().contains_key(header::AUTHORIZATION) {
        "the bearer token is not the one that http.token sets"
    } else {
        "http.token is set: send it as \"Authorization: Bearer <token>\""
    };
    ApiError::unauthorized(why).into_response()
}

fn is_open(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/") || path == "/metrics"
}

fn is_bearer(headers: &HeaderMap, token: &str) -> bool {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return false };
    let Some((scheme, credentials)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return false;
    };
    scheme.eq_ignore_ascii_case("bearer") && is_same(credentials.trim_start_matches(' '), token)
}

/// Takes as long whatever the two have in common: what is compared are their hashes, to the end.
fn is_same(given: &str, secret: &str) -> bool {
    let (given, secret) = (Sha256::digest(given), Sha256::digest(secret));
    given.iter().zip(secret.iter()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

pub(super) async fn bounds(request: Request, next: Next) -> Response {
    let mut response = match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::unavailable(format!("not answered within {} s", ANSWER_WITHIN.as_secs()))
            .into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NOTHING_MAY_LOAD);
    response
}
