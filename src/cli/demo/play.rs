//! The demonstration itself: orders are sent one after another, and what becomes of them is shown.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::adapters::clock::SystemClock;
use crate::adapters::redis::Names;
use crate::app::AppError;
use crate::cli::link::Link;
use crate::cli::outcome::Outcome;
use crate::cli::status_message::StatusMessage;
use crate::cli::{Ending, print};
use crate::ports::clock::Clock;
use crate::runtime::shutdown::Token;

use super::board::{Row, Verdict};
use super::market::Market;
use super::news::{self, News};
use super::samples::{Then, samples};
use super::screen::Screen;

/// Between two orders, so that one can follow.
const PACE: Duration = Duration::from_millis(300);
const REDRAW: Duration = Duration::from_millis(100);
/// How long an order rests until it is cancelled.
const CANCEL_AFTER: Duration = Duration::from_millis(2500);
/// By then every sample has ended.
const BOUND: Duration = Duration::from_secs(30);

pub(super) struct Told {
    pub(super) once: bool,
    pub(super) json: bool,
    pub(super) page: String,
    pub(super) redis_cli: String,
}

struct Play<'a> {
    told: Told,
    link: &'a Link,
    names: &'a Names,
    market: &'a Market,
    connection: MultiplexedConnection,
    rows: Vec<Row>,
    screen: Screen,
    /// The row to be cancelled, and when.
    to_cancel: Vec<(usize, Instant)>,
}

pub(super) async fn play(
    told: Told,
    link: &Link,
    names: &Names,
    market: &Market,
    stop: Token,
) -> Result<Ending, AppError> {
    let mut heard = news::listen(link, names).await?;
    let rows: Vec<Row> = samples().into_iter().map(Row::new).collect();
    let screen = Screen::new(told.json, rows.len());
    let connection = link.connect().await?;
    let mut play = Play { told, link, names, market, connection, rows, screen, to_cancel: Vec::new() };
    play.open()?;
    let mut pace = interval(PACE);
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let deadline = Instant::now() + BOUND;
    let mut ending = None;
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(news) = heard.recv() => play.take(news)?,
            _ = pace.tick(), if ending.is_none() => play.advance().await?,
            _ = redraw.tick() => play.redraw(ending.is_none()),
        }
        let over = play.rows.iter().all(|row| row.told) || Instant::now() > deadline;
        if ending.is_none() && over {
            ending = Some(play.conclude()?);
            if play.told.once {
                break;
            }
            play.invite();
        }
    }
    match ending {
        Some(ending) if play.told.once => Ok(ending),
        None if play.told.once => {
            Err(AppError::Failed("stopped before all sample orders had ended".to_owned()))
        }
        _ => Ok(Ending::Done),
    }
}

impl Play<'_> {
    fn open(&mut self) -> Result<(), AppError> {
        if self.told.json {
            return print::json(
                &json!({ "page": self.told.page, "redis_cli": self.told.redis_cli, "prefix": &*self.names.prefix }),
            );
        }
        let page = format!("page   {}   orders, positions, health", self.told.page);
        self.screen.headline(&page);
        self.screen
            .say(&format!("redis  {}   its keys begin with {}:", self.told.redis_cli, self.names.prefix));
        self.screen.say(
            "\nSample orders: what each shows, what is ordered, the statuses it goes through (+ as it should be)\n",
        );
        Ok(())
    }

    /// Sends the next sample, and the cancels that are due.
    async fn advance(&mut self) -> Result<(), AppError> {
        if let Some(nth) = self.rows.iter().position(|row| row.entry.is_none()) {
            let body = self.rows[nth].sample.body(self.market);
            self.rows[nth].entry = Some(self.add("order", &body).await?);
        }
        let now = Instant::now();
        let due: Vec<usize> =
            self.to_cancel.iter().filter(|(_, at)| *at <= now).map(|(nth, _)| *nth).collect();
        self.to_cancel.retain(|(_, at)| *at > now);
        for nth in due {
            let which = json!({ "client_order_id": self.rows[nth].sample.client_order_id });
            self.rows[nth].cancel_entry = Some(self.add("cancel", &which.to_string()).await?);
        }
        Ok(())
    }

    async fn add(&mut self, field: &str, body: &str) -> Result<String, AppError> {
        let mut add = redis::cmd("XADD");
        add.arg(&self.names.pending).arg("*").arg(field).arg(body);
        add.arg("timestamp").arg(SystemClock.now().to_string());
        add.query_async(&mut self.connection).await.map_err(|error| self.link.fault(&error))
    }

    fn take(&mut self, news: News) -> Result<(), AppError> {
        match news {
            News::Status(message) => match self.rows.iter_mut().position(|row| row.take_status(&message)) {
                Some(nth) => self.settle(nth),
                None => {
                    self.others_status(&message);
                    Ok(())
                }
            },
            News::Outcome(outcome) => {
                let mut left = Some(*outcome);
                for nth in 0..self.rows.len() {
                    let Some(outcome) = left.take() else { break };
                    left = self.rows[nth].take_outcome(outcome);
                    if left.is_none() {
                        self.follow_up(nth);
                        self.settle(nth)?;
                    }
                }
                left.iter().for_each(|outcome| self.others_outcome(outcome));
                Ok(())
            }
            News::Lost(error) => Err(error),
        }
    }

    /// What follows the outcome of a sample's request.
    fn follow_up(&mut self, nth: usize) {
        let row = &self.rows[nth];
        match row.sample.then {
            Then::Nothing => {}
            Then::Steer(distance) => self.market.steer(row.sample.symbol(), distance),
            Then::Cancel if row.cancel_entry.is_none() => {
                self.to_cancel.push((nth, Instant::now() + CANCEL_AFTER));
            }
            Then::Cancel => {}
        }
    }

    /// Tells that a row's order rests, and its end, each once.
    fn settle(&mut self, nth: usize) -> Result<(), AppError> {
        let row = &mut self.rows[nth];
        if row.is_resting() && !row.rest_told {
            row.rest_told = true;
            self.screen.row(row);
        }
        if row.told || !matches!(row.verdict(), Verdict::AsExpected | Verdict::Wrong(_)) {
            return Ok(());
        }
        row.told = true;
        if let Then::Steer(_) = row.sample.then {
            self.market.steer(row.sample.symbol(), 0);
        }
        if self.told.json {
            return print::json(&row.json());
        }
        self.screen.row(row);
        Ok(())
    }

    fn redraw(&mut self, playing: bool) {
        if playing {
            self.screen.table(&self.rows, &self.market.describe());
        } else {
            self.screen.prices(&self.market.describe());
        }
    }

    fn conclude(&mut self) -> Result<Ending, AppError> {
        self.screen.table(&self.rows, &self.market.describe());
        self.screen.keep();
        let good = self.rows.iter().filter(|row| row.verdict() == Verdict::AsExpected).count();
        let all = self.rows.len();
        if self.told.json {
            print::json(&json!({ "samples": all, "as_expected": good }))?;
        }
        self.screen.say("");
        self.screen.headline(&format!("{good} of {all} sample orders ended as they should"));
        for row in self.rows.iter().filter(|row| row.verdict() != Verdict::AsExpected) {
            let why = match row.verdict() {
                Verdict::Wrong(why) => why,
                Verdict::Waiting | Verdict::Alive | Verdict::AsExpected => {
                    format!("it has not ended within {} s", BOUND.as_secs())
                }
            };
            print::note(&format!("{}: {why}", row.sample.shows));
        }
        Ok(if good == all { Ending::Done } else { Ending::Failed })
    }

    /// The samples are over, the worker is not.
    fn invite(&mut self) {
        let Told { page, redis_cli, .. } = &self.told;
        let order = r#"{"symbol":"BTCUSDT","side":"Buy","quantity":"0.1","order_type":"Market"}"#;
        let text = format!(
            "\nThe worker goes on. Page: {page}\nAdd an order of your own:\n\n  {redis_cli} XADD {} '*' order '{order}'\n\nCtrl-C ends this and removes all of it. (demo --once ends by itself.)\n",
            self.names.pending
        );
        self.screen.say(&text);
    }

    /// Somebody else's order.
    fn others_status(&mut self, message: &StatusMessage) {
        let StatusMessage { client_order_id, side, symbol, status, passed, .. } = message;
        let path = if passed.is_empty() { status.clone() } else { passed.join(" > ") };
        let text = format!(" * {client_order_id}: {side} {symbol}  {path}  {}", message.happened());
        self.screen.say(text.trim_end());
    }

    /// Somebody else's request: its order was told by its statuses, a refusal was not.
    fn others_outcome(&mut self, outcome: &Outcome) {
        if !outcome.completed {
            outcome.lines().first().iter().for_each(|line| self.screen.say(&format!(" * {line}")));
        }
    }
}
