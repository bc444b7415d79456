//! `health`: what `/health/ready` says, for a health check where there is no other HTTP client, as in a container.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use crate::app::AppError;

use super::{Call, Ending, print};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution health
  order-execution --config /etc/order-execution --env production health

Asks the worker that serves at http.listen of this configuration, and nothing else: `check` asks Redis
and the journal, too.
Exit codes: 0 ready, 1 not ready (with the reasons), 2 wrong configuration, 4 no worker answers there.";

/// Less than what an orchestrator waits for a health check.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

pub(super) async fn run(call: &Call) -> Result<Ending, AppError> {
    let listen = call.settings.http.listen;
    if listen.port() == 0 {
        return Err(AppError::Usage(
            "http.listen has port 0: nobody can tell which one was taken".to_owned(),
        ));
    }
    let (status, report) = match ask(reachable(listen)).await {
        Ok(answer) => answer,
        Err(error) => {
            print::note(&format!("no worker answers at {listen}: {error}"));
            return Ok(Ending::Unreachable);
        }
    };
    if call.json {
        print::json(&report)?;
    } else {
        print::line(&sentence(status, &report));
    }
    Ok(if status.is_success() { Ending::Done } else { Ending::Failed })
}

async fn ask(address: SocketAddr) -> Result<(reqwest::StatusCode, Value), reqwest::Error> {
    // A proxy of the environment is meant for the way out.
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
    let response = client.get(format!("http://{address}/health/ready")).send().await?;
    Ok((response.status(), response.json().await?))
}

/// Who listens at every address is asked at the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        one => one,
    };
    SocketAddr::new(address, listen.port())
}

fn sentence(status: reqwest::StatusCode, report: &Value) -> String {
    if status.is_success() {
        return "ready".to_owned();
    }
    let reasons: Vec<&str> =
        report["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if reasons.is_empty() {
        format!("not ready: {status}")
    } else {
        format!("not ready: {}", reasons.join("; "))
    }
}
