//! Whoever adds requests, and remembers what Redis said to each.

use crate::harness::Entry;
use crate::link::{Failed, Link};
use chrono::Utc;
use redis::streams::StreamRangeReply;
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ack {
    Yes,
    /// The answer was lost: it may be there.
    Maybe,
}

/// A request that was added, or may have been.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) entry: String,
    pub(crate) kind: &'static str,
    pub(crate) client_order_id: Option<String>,
    pub(crate) ack: Ack,
    /// How often Redis had lost its data before this was sent.
    pub(crate) losses: usize,
}

/// What Redis held when its data was thrown away.
#[derive(Default)]
pub(crate) struct Archive {
    pub(crate) completed: Vec<Entry>,
    pub(crate) failed: Vec<Entry>,
    pub(crate) events: Vec<Entry>,
}

pub(crate) struct Producer {
    link: Link,
    prefix: String,
    /// Entries get their ids here, so that a request whose answer was lost has a name.
    last: (i64, u64),
    pub(crate) sent: Vec<Sent>,
    pub(crate) losses: usize,
    pub(crate) archive: Archive,
}

impl Producer {
    pub(crate) fn new(url: &str, prefix: &str) -> Self {
        Self {
            link: Link::new(url),
            prefix: prefix.to_owned(),
            last: (0, 0),
            sent: Vec::new(),
            losses: 0,
            archive: Archive::default(),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// Adds a request; returns its entry where it is or may be in the stream.
    pub(crate) async fn add(
        &mut self,
        kind: &'static str,
        client_order_id: Option<&str>,
        content: &Value,
    ) -> Option<String> {
        let now = Utc::now().timestamp_millis();
        self.last = if now > self.last.0 { (now, 0) } else { (self.last.0, self.last.1 + 1) };
        let entry = format!("{}-{}", self.last.0, self.last.1);
        let mut command = redis::cmd("XADD");
        command.arg(self.key("pending")).arg(&entry).arg(kind).arg(content.to_string());
        let ack = match self.link.ask::<String>(&command).await {
            Ok(_) => Ack::Yes,
            Err(Failed::Unknown(_)) => Ack::Maybe,
            Err(Failed::NotDone(_)) => return None,
        };
        let client_order_id = client_order_id.map(str::to_owned);
        self.sent.push(Sent { entry: entry.clone(), kind, client_order_id, ack, losses: self.losses });
        Some(entry)
    }

    /// FLUSHALL, and in the same step a copy of what it throws away. Requests are added through the same object,
    /// so which of them came before it is known.
    pub(crate) async fn flush(&mut self) -> Result<(), Failed> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for stream in ["completed", "failed", "events"] {
            pipe.cmd("XRANGE").arg(self.key(stream)).arg("-").arg("+");
        }
        pipe.cmd("FLUSHALL").ignore();
        let answer = self.link.run::<(StreamRangeReply, StreamRangeReply, StreamRangeReply)>(&pipe).await;
        if matches!(answer, Err(Failed::NotDone(_))) {
            return answer.map(drop);
        }
        // Also where the answer was lost, and the copy with it.
        self.losses += 1;
        let (completed, failed, events) = answer?;
        let entries = |reply: StreamRangeReply| reply.ids.into_iter().map(Entry::from);
        self.archive.completed.extend(entries(completed));
        self.archive.failed.extend(entries(failed));
        self.archive.events.extend(entries(events));
        Ok(())
    }
}
