//! `watch`: what happens to orders, as it happens.

mod board;
mod feed;
mod row;
mod view;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::adapters::redis::Names;
use crate::app::AppError;
use crate::domain::ids::{ClientOrderId, Symbol};
use crate::domain::request::OrderRef;
use crate::domain::status::Status;
use crate::ports::journal::{JournalReader, OrderFilter};
use crate::runtime::shutdown::Shutdown;
use crate::wire;

use super::link::Link;
use super::status_message::StatusMessage;
use super::{Call, Ending, filters, journal};

use board::{Board, Heard};
use feed::News;
use row::{Row, State};
use view::{View, Why};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution watch
  order-execution watch --open --symbol BTCUSDT
  order-execution watch --strategy-id mean-reversion --status filled,rejected
  order-execution watch --client-order-id signal-42 --for 30
  order-execution watch --json | jq -r 'select(.status == \"Rejected\") | .reason'

On a terminal: a table that is redrawn in place, newest order on top; where there is no room for
all, those that changed last. NO_COLOR switches colours off. Elsewhere: a line a message; with
--json each message as it was published.

It begins with the orders that are open by the journal; where that cannot be read it says so and
begins empty (with --json it always does).

Status messages are best effort. Where one was missed - the versions have a gap, or Redis was away -
the order's state is read, so that what is shown is true. Lines say so; --json writes a document
with \"missed\", \"client_order_id\" and \"state\".

Exit codes: 0 ended by Ctrl-C, by --for, or because nobody reads any more, 2 wrong usage or
configuration, 4 Redis was unreachable at the start; later it is waited for.";

const REDRAW: Duration = Duration::from_millis(100);
/// Messages taken at a time, so that drawing has its turn.
const AT_ONCE: usize = 256;
/// States read at a time.
const PAGE: usize = 256;
/// Open orders that the watch begins with, at most.
const OPEN: u32 = 5_000;

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// Only of this symbol
    #[arg(long)]
    symbol: Option<Symbol>,
    /// Only of this strategy; messages do not name it, so the state of each new order is read
    #[arg(long, value_name = "ID")]
    strategy_id: Option<String>,
    /// Only this order
    #[arg(long, value_name = "ID")]
    client_order_id: Option<ClientOrderId>,
    /// Only in this status, or (of lines) passing through it; several: once more, or with commas
    #[arg(long, ignore_case = true, value_delimiter = ',', value_parser = filters::statuses())]
    status: Vec<Status>,
    /// Only orders that have not ended
    #[arg(long)]
    open: bool,
    /// End by itself after so many seconds
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    lasts: Option<u64>,
}

impl Watch {
    /// What a message tells of an order that never changes. Its strategy, it does not.
    fn means(&self, client_order_id: &str, symbol: &str) -> bool {
        self.client_order_id.as_ref().is_none_or(|id| id.as_str() == client_order_id)
            && self.symbol.as_ref().is_none_or(|wanted| wanted.as_str() == symbol)
    }

    fn is_wanted(&self, statuses: &[&str], now: &str) -> bool {
        let is_open = !Status::from_text(now).is_some_and(Status::is_terminal);
        let in_one = |status: &Status| statuses.contains(&status.as_str());
        (is_open || !self.open) && (self.status.is_empty() || self.status.iter().any(in_one))
    }

    fn shows(&self, row: &Row) -> bool {
        self.is_wanted(&[&row.status], &row.status)
    }
}

pub(super) async fn run(call: &Call, watch: &Watch) -> Result<Ending, AppError> {
    let link = Arc::new(Link::new(&call.settings)?);
    let names = Names::new(&call.settings.streams.prefix, &call.settings.streams.group);
    let shutdown = Shutdown::new();
    shutdown.listen().map_err(|error| AppError::Io("signals cannot be caught", error))?;
    // First of all: what happens while the journal is read is heard.
    let news = feed::listen(link.clone(), names.status.clone()).await?;
    let reader = journal::open(&call.settings).await;
    let mut view = View::new(call.json);
    let reader = match reader {
        Ok(reader) => Some(reader),
        Err(error) => {
            view.note(&format!("which orders are open already is not known: {error}"));
            None
        }
    };
    let mut watching = Watching {
        watch,
        link,
        names,
        reader,
        view,
        board: Board::new(),
        states: None,
        trouble: None,
        stale: true,
    };
    let stop = shutdown.token();
    let lasts = async {
        match watch.lasts {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = watching.go(news) => ended,
        () = stop.cancelled() => Ok(()),
        () = lasts => Ok(()),
    };
    watching.draw();
    watching.view.keep();
    ended.map(|()| Ending::Done)
}

struct Watching<'a> {
    watch: &'a Watch,
    link: Arc<Link>,
    names: Names,
    reader: Option<Arc<dyn JournalReader>>,
    view: View,
    board: Board,
    /// Reads states; `None` where it has to be made first.
    states: Option<MultiplexedConnection>,
    /// Why nothing is heard for now.
    trouble: Option<String>,
    /// Something has changed since it was drawn.
    stale: bool,
}

impl Watching<'_> {
    /// Ends where nobody reads any more.
    async fn go(&mut self, mut news: Receiver<News>) -> Result<(), AppError> {
        if !self.begin().await? {
            return Ok(());
        }
        let resized = signal(SignalKind::window_change());
        let mut resized = resized.map_err(|error| AppError::Io("signals cannot be caught", error))?;
        let mut redraw = interval(REDRAW);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut heard = Vec::with_capacity(AT_ONCE);
        loop {
            tokio::select! {
                biased;
                _ = resized.recv() => self.draw(),
                _ = redraw.tick() => if self.stale { self.draw() },
                count = news.recv_many(&mut heard, AT_ONCE) => {
                    if count == 0 {
                        return Ok(());
                    }
                    for news in heard.drain(..) {
                        if !self.take(news).await? {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    fn draw(&mut self) {
        let link = match &self.trouble {
            None => view::Link::Up(&self.link.address),
            Some(why) => view::Link::Down(why),
        };
        self.view.draw(&self.board, &link, |row| self.watch.shows(row));
        self.stale = false;
    }

    /// Says whether anybody still reads; so do all below.
    async fn take(&mut self, news: News) -> Result<bool, AppError> {
        self.stale = true;
        match news {
            News::Message(bytes) => self.message(&bytes).await,
            News::Lost(why) => {
                if self.trouble.is_none() && !matches!(self.view, View::Table { .. }) {
                    self.view.note(&format!("{why}; trying again"));
                }
                self.trouble = Some(format!("{why}; trying again"));
                self.states = None;
                Ok(true)
            }
            News::Back => {
                if !matches!(self.view, View::Table { .. }) {
                    self.view.note("heard again; the states of open orders are read");
                }
                self.trouble = None;
                self.catch_up().await
            }
            News::Missed(count) => {
                self.view.note(&format!(
                    "{count} messages came faster than they were read here; the states of open orders are read"
                ));
                self.catch_up().await
            }
        }
    }

    async fn message(&mut self, bytes: &[u8]) -> Result<bool, AppError> {
        let raw = String::from_utf8_lossy(bytes);
        let message: StatusMessage = match serde_json::from_str(&raw) {
            Ok(message) => message,
            Err(error) => {
                self.view.note(&format!("a message on {} is no status message: {error}", self.names.status));
                return Ok(true);
            }
        };
        if !self.watch.means(&message.client_order_id, &message.symbol)
            || self.board.is_foreign(&message.order_id)
        {
            return Ok(true);
        }
        let mut state = None;
        if self.watch.strategy_id.is_some() && !self.board.knows(&message.order_id) {
            state = self.state(&message.client_order_id).await;
            match &state {
                Some((found, _)) if found.strategy_id == self.watch.strategy_id => {}
                // Of an order without a state nobody can tell: the next message asks again.
                None => return Ok(true),
                Some(_) => {
                    self.board.note_foreign(&message.order_id);
                    return Ok(true);
                }
            }
        }
        let mut passed: Vec<&str> = message.passed.iter().map(String::as_str).collect();
        passed.push(&message.status);
        let is_told = !self.watch.is_wanted(&passed, &message.status) || self.view.message(&message, &raw);
        match self.board.take(&message) {
            Heard::Gap(first, last) => {
                if state.is_none() {
                    state = self.state(&message.client_order_id).await;
                }
                match state {
                    Some((state, text)) => {
                        self.board.take_state(&state);
                        Ok(is_told && self.tell(&state, &text, &Why::Gap(first, last))?)
                    }
                    // It is gone, or cannot be read now: nothing better is known.
                    None => {
                        self.board.believe(&message);
                        Ok(is_told)
                    }
                }
            }
            Heard::Next | Heard::Old => Ok(is_told),
        }
    }

    fn tell(&self, state: &State, text: &str, why: &Why) -> Result<bool, AppError> {
        if !self.watch.is_wanted(&[state.bare_status()], state.bare_status()) {
            return Ok(true);
        }
        self.view.state(state, text, why)
    }

    /// The order's state by Redis, else by the journal.
    async fn state(&mut self, client_order_id: &str) -> Option<(State, String)> {
        let names = [client_order_id.to_owned()];
        let text = self.read(&names).await.and_then(|mut found| found.pop().flatten());
        let text = match text {
            Some(text) => text,
            None => self.journaled(client_order_id).await?,
        };
        serde_json::from_str(&text).ok().map(|state| (state, text))
    }

    async fn journaled(&self, client_order_id: &str) -> Option<String> {
        let (reader, id) = (self.reader.as_ref()?, client_order_id.parse().ok()?);
        let found = reader.order(&OrderRef::Client(id)).await.ok()??;
        Some(wire::order_json(&found))
    }

    /// What `state:<client order id>` holds of each; `None` where Redis does not answer.
    async fn read(&mut self, client_order_ids: &[String]) -> Option<Vec<Option<String>>> {
        if self.states.is_none() {
            self.states = self.link.connect().await.ok();
        }
        let mut read = redis::cmd("MGET");
        for id in client_order_ids {
            read.arg(format!("{}:state:{id}", self.names.prefix));
        }
        let found = read.query_async(self.states.as_mut()?).await;
        if found.is_err() {
            self.states = None;
        }
        found.ok()
    }

    /// The orders that are open, as the journal has them.
    async fn begin(&mut self) -> Result<bool, AppError> {
        for (state, text) in self.open().await {
            self.board.take_state(&state);
            if !self.tell(&state, &text, &Why::Open)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Oldest first.
    async fn open(&mut self) -> Vec<(State, String)> {
        let Some(reader) = &self.reader else { return Vec::new() };
        let filter = OrderFilter {
            limit: OPEN,
            open: true,
            symbol: self.watch.symbol.clone(),
            strategy_id: self.watch.strategy_id.clone(),
            client_order_id: self.watch.client_order_id.clone(),
            ..OrderFilter::default()
        };
        match reader.orders(&filter).await {
            Ok(orders) => {
                let texts = orders.iter().rev().map(wire::order_json);
                texts.filter_map(|text| Some((serde_json::from_str(&text).ok()?, text))).collect()
            }
            Err(error) => {
                self.view.note(&format!("which orders are open already is not known: {error}"));
                Vec::new()
            }
        }
    }

    /// Nothing was heard for a while: every order that was open then is looked at, and those that are open now.
    async fn catch_up(&mut self) -> Result<bool, AppError> {
        let open = self.board.unfinished();
        for page in open.chunks(PAGE) {
            let names: Vec<String> = page.iter().map(|(_, name)| name.clone()).collect();
            let Some(found) = self.read(&names).await else { break };
            for ((_, name), text) in page.iter().zip(found) {
                let text = match text {
                    Some(text) => Some(text),
                    None => self.journaled(name).await,
                };
                let state = text.and_then(|text| Some((serde_json::from_str(&text).ok()?, text)));
                if !self.news(state)? {
                    return Ok(false);
                }
            }
        }
        for known in self.open().await {
            if !self.news(Some(known))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn news(&mut self, known: Option<(State, String)>) -> Result<bool, AppError> {
        match known {
            Some((state, text)) if self.board.take_state(&state) => self.tell(&state, &text, &Why::Away),
            _ => Ok(true),
        }
    }
}
