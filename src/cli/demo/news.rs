//! What is heard of the requests: status messages as they are published, outcomes as they are added.

use std::time::Duration;

use futures_util::StreamExt;
use redis::streams::StreamReadReply;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::adapters::redis::Names;
use crate::app::AppError;
use crate::cli::link::Link;
use crate::cli::outcome::Outcome;
use crate::cli::status_message::StatusMessage;

/// What waits to be shown, at most.
const WAITING: usize = 1024;
const BLOCK: Duration = Duration::from_secs(1);

pub(super) enum News {
    Status(Box<StatusMessage>),
    Outcome(Box<Outcome>),
    /// Nothing more will be heard.
    Lost(AppError),
}

/// Hears from the moment this returns. Ends when the receiver is dropped.
pub(super) async fn listen(link: &Link, names: &Names) -> Result<Receiver<News>, AppError> {
    let (tell, hear) = mpsc::channel(WAITING);
    let mut messages = link.subscribe(&names.status).await?.into_on_message();
    let connection = link.connect_to_block(BLOCK).await?;
    let told = tell.clone();
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            let parsed = serde_json::from_slice(message.get_payload_bytes());
            if let Ok(parsed) = parsed
                && told.send(News::Status(Box::new(parsed))).await.is_err()
            {
                return;
            }
        }
    });
    tokio::spawn(read_outcomes(connection, names.clone(), link.address.clone(), tell));
    Ok(hear)
}

async fn read_outcomes(
    mut connection: redis::aio::MultiplexedConnection,
    names: Names,
    address: String,
    tell: Sender<News>,
) {
    let streams = [names.completed, names.failed];
    let mut after = ["0-0".to_owned(), "0-0".to_owned()];
    while !tell.is_closed() {
        let mut read = redis::cmd("XREAD");
        read.arg("BLOCK").arg(BLOCK.as_millis().to_string()).arg("STREAMS").arg(&streams).arg(&after);
        let reply: Option<StreamReadReply> = match read.query_async(&mut connection).await {
            Ok(reply) => reply,
            Err(error) => {
                let lost = AppError::Unreachable(format!("{address}: {error}"));
                drop(tell.send(News::Lost(lost)).await);
                return;
            }
        };
        for stream in reply.map(|reply| reply.keys).unwrap_or_default() {
            let nth = usize::from(stream.key != streams[0]);
            for entry in stream.ids {
                after[nth].clone_from(&entry.id);
                let outcome = Outcome::of(nth == 0, entry);
                if tell.send(News::Outcome(Box::new(outcome))).await.is_err() {
                    return;
                }
            }
        }
    }
}
