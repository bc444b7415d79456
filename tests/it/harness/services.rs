//! Where the tests have their Redis and their PostgreSQL from, in this order: an address from the environment,
//! a program on this machine, a container. Tests that stop or kill a server always start a program of their own.

use super::containers;
use super::postgres::{self, PostgresServer};
use super::redis::{self, RedisServer};
use super::{Database, Place};
use tokio::sync::OnceCell;

pub(crate) const NO_REDIS: &str = "these tests need a Redis server: install `redis-server` (Debian, Ubuntu: apt-get install redis-server) \
     or `valkey-server` so that it is on the PATH. $REDIS_URL can name a running one, and a container engine can run \
     one, but the tests that stop or empty their Redis start their own all the same";

pub(crate) const NO_POSTGRES: &str = "these tests need the programs `initdb` and `postgres` of PostgreSQL: install them (Debian, Ubuntu: apt-get \
     install postgresql; the service is not needed), under /usr/lib/postgresql or on the PATH. $DATABASE_URL can name \
     a server where databases may be created, and a container engine can run one, but the tests that stop or kill \
     their PostgreSQL start their own all the same";

/// A server for all tests of the process.
enum Shared<S> {
    Given(String),
    Program(S),
    Container(Box<containers::Running>),
}

fn given(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty())
}

/// The Redis that most tests share, each under a prefix of its own.
pub(crate) async fn redis_url() -> String {
    static REDIS: OnceCell<Shared<RedisServer>> = OnceCell::const_new();
    let found = REDIS.get_or_init(async || {
        if let Some(url) = given("REDIS_URL") {
            return Shared::Given(url);
        }
        if redis::find_server().is_some() {
            return Shared::Program(tokio::task::spawn_blocking(RedisServer::start).await.expect("Redis"));
        }
        Shared::Container(Box::new(
            containers::redis().await.unwrap_or_else(|why| panic!("{NO_REDIS}. {why}")),
        ))
    });
    match found.await {
        Shared::Given(url) => url.clone(),
        Shared::Program(server) => server.url(),
        Shared::Container(container) => container.url.clone(),
    }
}

/// The PostgreSQL that most tests share, each with a database of its own: the address of one to create them from.
async fn postgres_url() -> String {
    static POSTGRES: OnceCell<Shared<PostgresServer>> = OnceCell::const_new();
    let found = POSTGRES.get_or_init(async || {
        if let Some(url) = given("DATABASE_URL") {
            return Shared::Given(url);
        }
        if postgres::find_programs().is_some() {
            let started = tokio::task::spawn_blocking(PostgresServer::start).await;
            return Shared::Program(started.expect("PostgreSQL"));
        }
        Shared::Container(Box::new(
            containers::postgres().await.unwrap_or_else(|why| panic!("{NO_POSTGRES}. {why}")),
        ))
    });
    match found.await {
        Shared::Given(url) => url.clone(),
        Shared::Program(server) => server.url("postgres"),
        Shared::Container(container) => container.url.clone(),
    }
}

/// A place for one laboratory's journal in a database of this kind: there is nothing in it yet.
pub(crate) async fn place(database: Database, folder: &std::path::Path) -> Place {
    match database {
        Database::Sqlite => Place::File(folder.join("journal.db")),
        Database::Postgres => {
            let url = postgres_url().await;
            postgres::create_database(&url).await.unwrap_or_else(|e| panic!("CREATE DATABASE: {e}"))
        }
    }
}
