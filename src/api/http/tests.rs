//! The server as a client sees it, over a real socket.

mod fakes;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;

use super::*;
use fakes::{FakeJournal, sources};

struct Server {
    address: SocketAddr,
    client: Client,
    sources: Sources,
    shutdown: crate::runtime::shutdown::Shutdown,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(journal: FakeJournal, token: Option<&str>) -> Self {
        let sources = sources(journal, token);
        let shutdown = crate::runtime::shutdown::Shutdown::new();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, task) = serve(any, sources.clone(), shutdown.token()).await.unwrap();
        Self { address, client: Client::builder().no_proxy().build().unwrap(), sources, shutdown, task }
    }

    async fn ask(&self, method: Method, path: &str, authorization: Option<&str>) -> Response {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path, None).await
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.headers()["content-type"], "application/json", "{path}");
        response.json().await.unwrap()
    }

    /// The sentence of an error with this status.
    async fn error(&self, path: &str, status: StatusCode) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), status, "{path}");
        let body: Value = response.json().await.unwrap();
        body["error"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn health_tells_each_component_and_ready_says_why_not() {
    let server = Server::start(FakeJournal::default(), None).await;
    let redis = server.sources.health.component("redis", None);
    redis.ok("answers");
    assert_eq!(server.get("/health/ready").await.status(), StatusCode::OK);
    redis.not_ok("redis://127.0.0.1:1 refuses connections");

    let response = server.get("/health").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let health: Value = response.json().await.unwrap();
    assert_eq!(health["ready"], false);
    assert_eq!(health["components"][0]["name"], "redis");
    assert_eq!(health["components"][0]["message"], "redis://127.0.0.1:1 refuses connections");
    let since: crate::domain::time::Timestamp =
        health["components"][0]["since"].as_str().unwrap().parse().unwrap();
    assert!(since <= server.sources.clock.now());

    let ready = server.get("/health/ready").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready: Value = ready.json().await.unwrap();
    assert_eq!(ready["reasons"][0], "redis: redis://127.0.0.1:1 refuses connections");
    assert_eq!(server.get("/health/live").await.status(), StatusCode::OK);

    redis.ok("answers");
    server.sources.health.drain("SIGTERM");
    let ready = server.json("/health/ready").await;
    assert_eq!(ready["reasons"], serde_json::json!(["draining: SIGTERM"]));
}

#[tokio::test]
async fn metrics_come_in_the_format_that_was_asked_for() {
    let server = Server::start(FakeJournal::default(), None).await;
    server.sources.metrics.orders_created(3);
    let plain = server.get("/metrics").await;
    assert_eq!(plain.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = plain.text().await.unwrap();
    assert!(text.contains(
        "# TYPE order_execution_orders_created_total counter\norder_execution_orders_created_total 3\n"
    ));

    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let url = format!("http://{}/metrics", server.address);
    let open = server.client.get(url).header("accept", accept).send().await.unwrap();
    assert_eq!(open.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.text().await.unwrap().ends_with("# EOF\n"));
}

#[tokio::test]
async fn orders_are_filtered_and_found_by_either_id() {
    let server = Server::start(FakeJournal::sample(), None).await;
    let all = server.json("/api/orders").await;
    assert_eq!(all.as_array().unwrap().len(), fakes::ORDERS);
    assert_eq!(server.json("/api/orders?limit=2").await.as_array().unwrap().len(), 2);
    for order in server.json("/api/orders?symbol=BTCUSDT&open=true").await.as_array().unwrap() {
        assert_eq!(order["symbol"], "BTCUSDT");
        assert_eq!(order["status"], "Acknowledged");
    }
    let filled = server.json("/api/orders?status=Filled").await;
    assert!(!filled.as_array().unwrap().is_empty());

    let order = server.json("/api/orders/desk%2Fbook-1").await;
    assert_eq!(order["client_order_id"], "desk/book-1");
    let id = order["id"].as_str().unwrap();
    assert_eq!(server.json(&format!("/api/orders/{id}")).await, order);
    let events = server.json(&format!("/api/orders/{id}/events")).await;
    assert_eq!(events[0]["type"], "Created");
    assert_eq!(events[0]["version"], 1);
}

#[tokio::test]
async fn a_bad_parameter_is_named_with_what_would_be_right() {
    let server = Server::start(FakeJournal::sample(), None).await;
    for (query, parts) in [
        ("limit=0", ["limit = \"0\"", "1 to 1000"]),
        ("limit=1001", ["limit = \"1001\"", "1 to 1000"]),
        ("limit=-1", ["limit = \"-1\"", "1 to 1000"]),
        ("status=Done", ["status = \"Done\"", "Created, Validated, PendingSubmit"]),
        ("symbol=a%20b", ["symbol = \"a b\"", "1 to 32"]),
        ("open=yes", ["open = \"yes\"", "true or false"]),
        ("sort=asc", ["sort", "limit, symbol, status"]),
        ("limit=1&limit=2", ["limit", "twice"]),
    ] {
        let error = server.error(&format!("/api/orders?{query}"), StatusCode::BAD_REQUEST).await;
        assert!(parts.iter().all(|part| error.contains(part)), "{query}: {error}");
    }
    let error = server.error("/api/orders/nobody", StatusCode::NOT_FOUND).await;
    assert!(error.contains("nobody"));
    let error = server.error("/api/orders/a%20b", StatusCode::BAD_REQUEST).await;
    assert!(error.contains("\"a b\""));
    let error = server.error("/api/order", StatusCode::NOT_FOUND).await;
    assert!(error.contains("/api/orders"));
}

#[tokio::test]
async fn positions_are_valued_at_the_mark_and_null_without_one() {
    let server = Server::start(FakeJournal::sample(), None).await;
    let positions = server.json("/api/positions").await;
    assert_eq!(
        positions[0],
        serde_json::json!({
            "symbol": "BTCUSDT", "broker": "mock", "quantity": "0.75", "average_price": "44900.5",
            "realized_pnl": "12.5", "unrealized_pnl": "74.625", "commission": "0.33", "broker_quantity": null,
        })
    );
    assert_eq!(positions[1]["symbol"], "ETHUSDT");
    assert_eq!(positions[1]["average_price"], Value::Null);
    assert_eq!(positions[1]["unrealized_pnl"], "0");
    assert_eq!(positions[2]["symbol"], "EUR_USD");
    assert_eq!(positions[2]["quantity"], "-50");
    assert_eq!(positions[2]["unrealized_pnl"], Value::Null);
}

#[tokio::test]
async fn a_journal_that_is_away_is_503_with_its_reason() {
    let server = Server::start(FakeJournal::away(), None).await;
    for path in ["/api/orders", "/api/orders/x", "/api/orders/x/events", "/api/positions"] {
        let error = server.error(path, StatusCode::SERVICE_UNAVAILABLE).await;
        assert!(error.contains("the disk is gone"), "{error}");
    }
}

#[tokio::test]
async fn only_get_is_answered() {
    let server = Server::start(FakeJournal::default(), None).await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        for path in ["/", "/health", "/metrics", "/api/orders", "/api/positions"] {
            let response = server.ask(method.clone(), path, None).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(response.headers()["allow"], "GET, HEAD");
        }
    }
}

#[tokio::test]
async fn the_token_guards_all_but_health_and_metrics() {
    let server = Server::start(FakeJournal::sample(), Some("s3cret")).await;
    let guarded = ["/", "/api/orders", "/api/orders/x", "/api/positions", "/healthy", "/nowhere"];
    for path in guarded {
        for wrong in [
            None,
            Some("Bearer wrong"),
            Some("Bearer"),
            Some("Basic s3cret"),
            Some("s3cret"),
            Some("Bearer s3cret2"),
        ] {
            let response = server.ask(Method::GET, path, wrong).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path} {wrong:?}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"order-execution\"");
            let body = response.text().await.unwrap();
            assert!(!body.contains("redis-cli"), "{path}: {body}");
        }
    }
    for path in ["/", "/api/orders", "/api/positions"] {
        assert_eq!(
            server.ask(Method::GET, path, Some("Bearer s3cret")).await.status(),
            StatusCode::OK,
            "{path}"
        );
        assert_eq!(
            server.ask(Method::GET, path, Some("bearer s3cret")).await.status(),
            StatusCode::OK,
            "{path}"
        );
    }
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        assert_eq!(server.get(path).await.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn browsers_are_told_to_be_careful() {
    let server = Server::start(FakeJournal::sample(), None).await;
    for path in ["/", "/health", "/metrics", "/api/orders", "/nowhere"] {
        let response = server.get(path).await;
        let headers = response.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    }
    let page = server.get("/").await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = Server::start(FakeJournal::default(), None).await;
    let error = serve(server.address, server.sources.clone(), server.shutdown.token()).await.unwrap_err();
    let sentence = error.to_string();
    assert!(sentence.contains("http.listen") && sentence.contains(&server.address.to_string()), "{sentence}");
}

#[tokio::test]
async fn stops_when_told_even_with_a_connection_open() {
    let server = Server::start(FakeJournal::default(), None).await;
    let _idle = tokio::net::TcpStream::connect(server.address).await.unwrap();
    server.get("/health/live").await;
    server.shutdown.trigger("test");
    tokio::time::timeout(Duration::from_secs(10), server.task).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

/// For looking at the page: `OE_PAGE_SECONDS=600 cargo test --lib api::http::tests::page_to_look_at -- --nocapture`.
#[tokio::test]
async fn page_to_look_at() {
    let Some(seconds) = std::env::var("OE_PAGE_SECONDS").ok().and_then(|seconds| seconds.parse().ok()) else {
        return;
    };
    let empty = Server::start(FakeJournal::default(), None).await;
    let guarded = Server::start(FakeJournal::sample(), Some("s3cret")).await;
    let server = Server::start(FakeJournal::sample(), None).await;
    fakes::look_busy(&server.sources);
    println!("http://{}/ http://{}/ http://{}/", server.address, empty.address, guarded.address);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
