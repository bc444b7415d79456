//! What is heard on the channel of status messages, for as long as it takes: connections come and go.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::PubSub;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::app::AppError;
use crate::cli::link::Link;

/// Messages that wait to be shown, at most: whoever reads slower than orders change misses some, and is told.
const WAITING: usize = 16_384;
/// Until a server that says nothing is asked whether it is there, and until that is answered.
const SILENCE: Duration = Duration::from_secs(5);
/// Between two attempts to connect: at first, and at most.
const SOON: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_secs(5);

pub(super) enum News {
    /// A message as it was published.
    Message(Vec<u8>),
    /// Nothing is heard for now.
    Lost(String),
    /// Heard again from here on. What was published meanwhile is not.
    Back,
    /// So many messages were thrown away before this: nobody took them.
    Missed(u64),
}

/// Hears from the moment this returns. Ends when the receiver is dropped.
pub(super) async fn listen(link: Arc<Link>, channel: String) -> Result<Receiver<News>, AppError> {
    let (tell, hear) = mpsc::channel(WAITING);
    let first = subscribe(&link, &channel).await?;
    tokio::spawn(async move {
        let mut heard = Some(first);
        let mut pause = SOON;
        loop {
            let why = match heard.take() {
                Some(messages) => {
                    pause = SOON;
                    match pass_on(messages, &tell, &link).await {
                        Some(why) => why,
                        None => return,
                    }
                }
                None => match subscribe(&link, &channel).await {
                    Ok(messages) => {
                        if tell.send(News::Back).await.is_err() {
                            return;
                        }
                        heard = Some(messages);
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
            };
            if tell.send(News::Lost(why)).await.is_err() {
                return;
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LATE);
        }
    });
    Ok(hear)
}

async fn subscribe(link: &Link, channel: &str) -> Result<PubSub, AppError> {
    let late = |_| AppError::Unreachable(format!("{} does not answer in time", link.address));
    timeout(SILENCE, link.subscribe(channel)).await.map_err(late)?
}

/// Why nothing more is heard; `None`: nobody listens any more.
async fn pass_on(messages: PubSub, tell: &Sender<News>, link: &Link) -> Option<String> {
    let (mut asking, mut messages) = messages.split();
    let mut ask = interval(SILENCE);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut missed = 0_u64;
    loop {
        tokio::select! {
            message = messages.next() => {
                let Some(message) = message else {
                    return Some(format!("{} has closed the connection", link.address));
                };
                // Not awaited: the messages behind this one would pile up without a bound.
                let news = News::Message(message.get_payload_bytes().to_vec());
                match tell.try_send(news) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => missed += 1,
                    Err(TrySendError::Closed(_)) => return None,
                }
            }
            _ = ask.tick() => {
                match timeout(SILENCE, asking.ping::<redis::Value>()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Some(link.why(&error)),
                    Err(_) => return Some(format!("{} does not answer in time", link.address)),
                }
            }
            () = tell.closed() => return None,
        }
        if missed > 0 && tell.try_send(News::Missed(missed)).is_ok() {
            missed = 0;
        }
    }
}
