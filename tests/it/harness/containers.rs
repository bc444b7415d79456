//! Servers in containers, where an engine answers: found in the usual way, by $DOCKER_HOST or
//! /var/run/docker.sock.

use super::guard::Watchdog;
use super::{eventually_within, postgres, redis};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;
use testcontainers::core::client::docker_client_instance;
use testcontainers::core::{ContainerPort, IntoContainerPort};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt, bollard};

const ENGINE_ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const PULLED_WITHIN: Duration = Duration::from_secs(300);
const READY_WITHIN: Duration = Duration::from_secs(60);

const PASSWORD: &str = "in-a-container";

/// A server in a container. The container is removed with it, or when the test process ends.
pub(crate) struct Running {
    pub(crate) url: String,
    _container: ContainerAsync<GenericImage>,
    _watchdog: Option<Watchdog>,
}

/// The name and tag of an image, by environment variable.
fn image(variable: &str, default: &str) -> GenericImage {
    let wanted = std::env::var(variable).ok().filter(|name| !name.is_empty());
    let wanted = wanted.unwrap_or_else(|| default.to_owned());
    // A colon before a slash belongs to a registry's port.
    let (name, tag) = match wanted.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (wanted.as_str(), "latest"),
    };
    GenericImage::new(name, tag)
}

pub(crate) async fn redis() -> Result<Running, String> {
    let image = image("TEST_REDIS_IMAGE", "redis:7").with_exposed_port(6379.tcp());
    let command =
        ["redis-server", "--protected-mode", "no", "--appendonly", "yes", "--appendfsync", "always"];
    let container = start(image.with_cmd(command)).await?;
    let address = address(&container, 6379).await?;
    until("Redis", address, redis::answers).await;
    Ok(running(format!("redis://{address}/"), container))
}

pub(crate) async fn postgres() -> Result<Running, String> {
    let image = image("TEST_POSTGRES_IMAGE", "postgres:15").with_exposed_port(5432.tcp());
    let container = start(image.with_env_var("POSTGRES_PASSWORD", PASSWORD)).await?;
    let address = address(&container, 5432).await?;
    // While the image makes its cluster, its server does not listen on the network.
    until("PostgreSQL", address, postgres::answers).await;
    Ok(running(format!("postgres://postgres:{PASSWORD}@{address}/postgres"), container))
}

/// Err: there is no engine, or it has no such image; whatever else goes wrong is a panic.
async fn start<I>(image: I) -> Result<ContainerAsync<GenericImage>, String>
where
    I: AsyncRunner<GenericImage> + Send,
{
    engine().await?;
    let started = tokio::time::timeout(PULLED_WITHIN, image.start()).await;
    let started = started.map_err(|_| format!("the image was not there after {PULLED_WITHIN:?}"))?;
    started.map_err(|error| {
        let text = error.to_string();
        assert!(text.contains("pull"), "a container does not start: {text}");
        text
    })
}

/// Whether a container engine answers; else why not.
async fn engine() -> Result<(), String> {
    let no_engine = |why: String| format!("no container engine answers: {why}");
    let client = docker_client_instance().await.map_err(|error| no_engine(error.to_string()))?;
    match tokio::time::timeout(ENGINE_ANSWERS_WITHIN, client.ping()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(no_engine(reason(&error))),
        Err(_) => Err(no_engine(format!("nothing within {ENGINE_ANSWERS_WITHIN:?}"))),
    }
}

/// With what is behind it: the outermost says little.
fn reason(error: &bollard::errors::Error) -> String {
    let mut text = error.to_string();
    let mut inner = std::error::Error::source(error);
    while let Some(cause) = inner {
        text = format!("{text}: {cause}");
        inner = cause.source();
    }
    text
}

async fn address(
    container: &ContainerAsync<GenericImage>,
    port: impl Into<ContainerPort>,
) -> Result<SocketAddr, String> {
    let host = container.get_host().await.map_err(|e| e.to_string())?.to_string();
    let port = container.get_host_port_ipv4(port).await.map_err(|e| e.to_string())?;
    let found = (host.as_str(), port).to_socket_addrs().map_err(|e| format!("{host}: {e}"))?;
    found.into_iter().find(SocketAddr::is_ipv4).ok_or_else(|| format!("{host} has no address"))
}

async fn until(what: &str, address: SocketAddr, answers: fn(SocketAddr) -> bool) {
    eventually_within(READY_WITHIN, &format!("{what} in its container"), async || {
        tokio::task::spawn_blocking(move || answers(address)).await.is_ok_and(|there| there).then_some(())
    })
    .await;
}

/// Its own end removes it; the watchdog does where the test process is killed or ends with it in a `static`.
fn running(url: String, container: ContainerAsync<GenericImage>) -> Running {
    let watchdog = Watchdog::start("docker rm -f -v \"$1\"", &[container.id()]).ok();
    Running { url, _container: container, _watchdog: watchdog }
}
