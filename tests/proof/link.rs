//! A connection to a Redis that comes and goes, and that tells whether what failed may have been done.

use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisError};
use std::time::Duration;

use crate::harness::Entry;

const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Entries read at a time.
const PAGE: usize = 5_000;

pub(crate) struct Link {
    url: String,
    connection: Option<MultiplexedConnection>,
}

#[derive(Debug)]
pub(crate) enum Failed {
    /// It was not sent, or refused: nothing was done.
    NotDone(RedisError),
    /// The answer was lost.
    Unknown(RedisError),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotDone(error) => write!(f, "not done: {error}"),
            Self::Unknown(error) => write!(f, "no answer: {error}"),
        }
    }
}

impl Link {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), connection: None }
    }

    pub(crate) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Failed> {
        let mut connection = self.connected().await?;
        let answer = command.query_async(&mut connection).await;
        self.judge(answer)
    }

    pub(crate) async fn run<T: FromRedisValue>(&mut self, pipe: &redis::Pipeline) -> Result<T, Failed> {
        let mut connection = self.connected().await?;
        let answer = pipe.query_async(&mut connection).await;
        self.judge(answer)
    }

    async fn connected(&mut self) -> Result<MultiplexedConnection, Failed> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let client = redis::Client::open(self.url.as_str()).map_err(Failed::NotDone)?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(ANSWER_WITHIN))
            .set_connection_timeout(Some(ANSWER_WITHIN));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        let connection = connection.map_err(Failed::NotDone)?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    fn judge<T>(&mut self, answer: Result<T, RedisError>) -> Result<T, Failed> {
        answer.map_err(|error| {
            // An error with a code is the server's own word.
            if error.code().is_some() {
                return Failed::NotDone(error);
            }
            self.connection = None;
            Failed::Unknown(error)
        })
    }

    /// A whole stream, oldest first.
    pub(crate) async fn range(&mut self, key: &str) -> Result<Vec<Entry>, Failed> {
        let mut all: Vec<Entry> = Vec::new();
        loop {
            let after = all.last().map_or_else(|| "-".to_owned(), |entry| format!("({}", entry.id));
            let page: StreamRangeReply =
                self.ask(redis::cmd("XRANGE").arg(key).arg(after).arg("+").arg("COUNT").arg(PAGE)).await?;
            let count = page.ids.len();
            all.extend(page.ids.into_iter().map(Entry::from));
            if count < PAGE {
                return Ok(all);
            }
        }
    }
}
