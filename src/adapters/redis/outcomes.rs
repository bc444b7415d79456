//! The streams as a person looks through them: failed requests, and those that have no outcome yet.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use redis::Value;
use redis::streams::{StreamId, StreamRangeReply};

use super::Shared;
use super::connect::RedisFault;

/// Entries read at a time. An entry may hold a payload of `worker.max_payload_bytes`.
const PAGE: usize = 200;

/// An entry of a stream, its fields by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    pub id: String,
    pub fields: HashMap<String, Vec<u8>>,
}

impl StreamEntry {
    /// A field that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

pub struct RedisOutcomes {
    shared: Arc<Shared>,
}

impl RedisOutcomes {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Shows the failed requests to `look`, the newest first, until it has seen enough.
    pub async fn failed(
        &self,
        look: impl FnMut(StreamEntry) -> ControlFlow<()> + Send,
    ) -> Result<(), RedisFault> {
        self.walk("XREVRANGE", &self.shared.names.failed, ["+", "-"], look).await
    }

    /// Shows the requests that have no outcome yet to `look`, the oldest first.
    pub async fn pending(
        &self,
        look: impl FnMut(StreamEntry) -> ControlFlow<()> + Send,
    ) -> Result<(), RedisFault> {
        self.walk("XRANGE", &self.shared.names.pending, ["-", "+"], look).await
    }

    async fn walk(
        &self,
        command: &str,
        stream: &str,
        [from, to]: [&str; 2],
        mut look: impl FnMut(StreamEntry) -> ControlFlow<()> + Send,
    ) -> Result<(), RedisFault> {
        let mut from = from.to_owned();
        loop {
            let mut read = redis::cmd(command);
            read.arg(stream).arg(&from).arg(to).arg("COUNT").arg(PAGE);
            let page: StreamRangeReply = self.shared.link.query(&read).await?;
            let Some(last) = page.ids.last() else { return Ok(()) };
            from = format!("({}", last.id);
            let is_last = page.ids.len() < PAGE;
            for found in page.ids {
                if look(entry(found)).is_break() {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

fn entry(found: StreamId) -> StreamEntry {
    let bytes = |value| match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        other => format!("{other:?}").into_bytes(),
    };
    let fields = found.map.into_iter().map(|(name, value)| (name, bytes(value))).collect();
    StreamEntry { id: found.id, fields }
}
