//! What an order is judged by, out of all that the transaction has loaded; and what a breach leads to.

use rust_decimal::Decimal;

use crate::domain::amount::{Amount, Price, Quantity};
use crate::domain::control::{Control, ControlEvent};
use crate::domain::ids::{BrokerName, ClientOrderId, Symbol};
use crate::domain::ledger::{FillsOf, Ledger, Mark, SessionKey};
use crate::domain::market::Market;
use crate::domain::order::{ContentHash, Order, OrderSpec};
use crate::domain::order_type::Side;
use crate::domain::position::{Book, Position};
use crate::domain::refusal::Code;
use crate::domain::risk::{self, BookValue, Breach, Judgement, LimitRow, RiskView, RowView, Sums};
use crate::domain::time::Timestamp;
use crate::domain::trading_state::{Scope, Switch, TradingState};

use super::Rules;

const MICROS_PER_MS: i64 = 1000;
const DAY_US: i64 = 86_400_000_000;
/// Prices for the moving collar are kept no closer together than this share of the shortest window.
const SAMPLES: i64 = 20;

/// An order, or new terms for one, that is to be judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) market: &'a Market,
    pub(super) spec: &'a OrderSpec,
    pub(super) broker: &'a BrokerName,
    /// The order as it is journaled, which has its share of the reservations already.
    pub(super) held: Option<&'a Order>,
    /// It is asked for now, and counts; else it was counted when it was.
    pub(super) is_new: bool,
}

impl Asked<'_> {
    fn key(&self) -> (BrokerName, Symbol) {
        (self.broker.clone(), self.spec.symbol.clone())
    }

    /// What a new order asks for, where a limit looks out for repeats.
    fn content(&self, rows: &[&LimitRow]) -> Option<ContentHash> {
        let watched = rows.iter().any(|row| row.optional.duplicate_window_ms.is_some());
        let is_new = self.is_new && self.held.is_none();
        (watched && is_new).then(|| self.spec.twin_hash().ok())?
    }

    /// A book without what the order itself has in it.
    fn without(&self, book: &Book, mut position: Position) -> Position {
        let Some(held) = self.held.filter(|held| held.books().any(|its| its == *book)) else {
            return position;
        };
        // What cannot be taken back out stays in: that judges more strictly, never less.
        let _ = position.reserve(held.spec.side, held.reserved_quantity(), Quantity::ZERO);
        position.open_orders = position.open_orders.saturating_sub(u64::from(held.is_live()));
        position
    }
}

impl Rules {
    /// Judges an order by what holds in this transaction, counts it, and stops what turns out to be beyond its limits.
    pub(super) fn judge(&self, ledger: &mut Ledger, asked: &Asked<'_>) -> Judgement {
        let control = ledger.control.clone();
        let rows = control.limits.of_order(asked.spec);
        self.note_prices(ledger, asked, &rows);
        let mut judgement = self.judge_by(ledger, asked, &control, &rows);
        if asked.is_new && judgement.counts_in_rate {
            ledger.risk.count_order(Scope::Symbol(asked.spec.symbol.clone()));
            for row in rows.iter().filter(|row| row.strategy_id.is_some() || row.account) {
                ledger.risk.count_order(row.scope(&asked.spec.symbol));
            }
        }
        if judgement.refusal.is_none() && asked.is_new {
            judgement.refusal = self.pass_circuit(ledger, asked.broker);
        }
        if judgement.refusal.is_none()
            && let Some(content) = asked.content(&rows)
        {
            let now = ledger.now;
            ledger.risk.note_content(content, asked.spec.client_order_id.clone(), now);
        }
        for breach in &judgement.breaches {
            self.stop(ledger, breach);
        }
        judgement
    }

    fn judge_by(
        &self,
        ledger: &mut Ledger,
        asked: &Asked<'_>,
        control: &Control,
        rows: &[&LimitRow],
    ) -> Judgement {
        let (spec, now) = (asked.spec, ledger.now);
        let account = Book::account(asked.broker.clone(), spec.symbol.clone());
        let position = asked.without(&account, ledger.book(&account));
        self.begin_sessions(ledger, asked, &account);
        let views = rows.iter().map(|row| self.row_view(ledger, asked, control, row, &account)).collect();
        let switches = control.trading.over(asked.broker, spec, now).map(|switch| {
            let book = switch.scope.book(&account);
            let position = asked.without(&book, ledger.book(&book));
            (switch, position)
        });
        let looks = rows.iter().any(|row| row.optional.prevent_self_trade);
        let would_trade_with = if looks { would_trade_with(ledger, asked) } else { None };
        let filled = asked.held.map_or(Quantity::ZERO, |held| held.state.filled_quantity);
        let same_content =
            asked.content(rows).and_then(|content| ledger.risk.contents.get(&content).cloned());
        let view = RiskView {
            switches: switches.collect(),
            rows: views,
            market: asked.market,
            instrument: self.venue.instruments.get(&spec.symbol),
            contract: risk::contract_or_plain(self.contracts.of(&spec.symbol)),
            has_rate: self.contracts.has_rate(&spec.symbol),
            position: &position,
            is_counted: asked.held.is_some_and(Order::is_live),
            open_quantity: spec.quantity.saturating_sub(filled),
            same_content,
            would_trade_with,
            now,
            max_quote_age_us: self.max_quote_age_us,
        };
        risk::judge(spec, &view)
    }

    fn row_view<'a>(
        &self,
        ledger: &mut Ledger,
        asked: &Asked<'_>,
        control: &Control,
        row: &'a LimitRow,
        account: &Book,
    ) -> RowView<'a> {
        let scope = row.scope(&asked.spec.symbol);
        let book = scope.book(account);
        let position = asked.without(&book, ledger.book(&book));
        let recent = ledger.risk.recent_orders.get(&scope).copied().unwrap_or(0);
        let wants_sums = row.adds_up_money() || row.optional.max_open_orders.is_some();
        let sums =
            if wants_sums { self.sums(ledger, asked, control, row, &scope, &book) } else { Sums::default() };
        let price_range = self.price_range(ledger, asked.broker, &asked.spec.symbol, row);
        RowView { row, position, sums, recent_orders: asked.is_new.then_some(recent), price_range, scope }
    }

    /// What the books of a row's scope come to. `own`: the one that the order is in.
    fn sums(
        &self,
        ledger: &mut Ledger,
        asked: &Asked<'_>,
        control: &Control,
        row: &LimitRow,
        scope: &Scope,
        own: &Book,
    ) -> Sums {
        let is_its = |book: &Book| match scope {
            Scope::All => book.strategy.is_none(),
            Scope::StrategyId(id) => book.strategy.as_ref() == Some(id),
            Scope::Broker(_) | Scope::Symbol(_) | Scope::StrategySymbol(..) => false,
        };
        let mut books: Vec<(Book, Position)> = Vec::new();
        if matches!(scope, Scope::All | Scope::StrategyId(_)) {
            let others = ledger.positions.iter().filter(|(book, _)| is_its(book) && *book != own);
            books.extend(others.map(|(book, position)| (book.clone(), position.clone())));
        }
        books.push((own.clone(), asked.without(own, ledger.book(own))));
        self.add_up(ledger, control, row, scope, &books, &|ledger, book| self.mark_of(ledger, asked, book))
    }

    /// What some books come to for a row of limits, each at its mark.
    pub(super) fn add_up(
        &self,
        ledger: &mut Ledger,
        control: &Control,
        row: &LimitRow,
        scope: &Scope,
        books: &[(Book, Position)],
        mark_of: &dyn Fn(&Ledger, &Book) -> Option<Price>,
    ) -> Sums {
        let money = row.adds_up_money();
        let mut values = Vec::with_capacity(books.len());
        for (book, position) in books {
            let mark = mark_of(ledger, book);
            let base = if money { self.base(ledger, control, scope, book, position, mark) } else { None };
            values.push(BookValue {
                symbol: &book.symbol,
                position,
                contract: risk::contract_or_plain(self.contracts.of(&book.symbol)),
                has_rate: self.contracts.has_rate(&book.symbol),
                mark: mark.map(Price::get),
                base: base.unwrap_or(Amount::ZERO),
            });
        }
        Sums::of(values, money)
    }

    /// What a book's symbol is worth now, where that is known.
    fn mark_of(&self, ledger: &Ledger, asked: &Asked<'_>, book: &Book) -> Option<Price> {
        if book.symbol == asked.spec.symbol && book.broker == *asked.broker {
            return self.reference(asked.market, ledger.now);
        }
        let key = (book.broker.clone(), book.symbol.clone());
        ledger.risk.fresh_mark(&key, ledger.now, self.max_quote_age_us)
    }

    pub(super) fn reference(&self, market: &Market, now: Timestamp) -> Option<Price> {
        market.tradable(now, self.max_quote_age_us).reference().and_then(|price| Price::new(price).ok())
    }

    /// The figures of the day count from the first order of the session: what each book had earned by then.
    fn begin_sessions(&self, ledger: &mut Ledger, asked: &Asked<'_>, account: &Book) {
        let strategy = asked.spec.strategy().map(|id| Book { strategy: Some(id.into()), ..account.clone() });
        let mark = self.reference(asked.market, ledger.now);
        let from = ledger.now.session_start(self.session_start_us);
        for book in std::iter::once(account.clone()).chain(strategy) {
            let position = asked.without(&book, ledger.book(&book));
            self.session_base(ledger, SessionKey { scope: None, book }, &position, mark, from);
        }
    }

    /// What a book had earned when the loss of a scope began to count.
    fn base(
        &self,
        ledger: &mut Ledger,
        control: &Control,
        scope: &Scope,
        book: &Book,
        position: &Position,
        mark: Option<Price>,
    ) -> Option<Amount> {
        let session = ledger.now.session_start(self.session_start_us);
        let resumed = control.trading.get(scope).and_then(|switch| switch.loss_counts_from);
        let resumed = resumed.filter(|at| *at > session);
        let key = SessionKey { scope: resumed.map(|_| scope.clone()), book: book.clone() };
        self.session_base(ledger, key, position, mark, resumed.unwrap_or(session))
    }

    /// Where the session has just begun, it begins at the price of now; without one it waits for one.
    pub(super) fn session_base(
        &self,
        ledger: &mut Ledger,
        key: SessionKey,
        position: &Position,
        mark: Option<Price>,
        from: Timestamp,
    ) -> Option<Amount> {
        if let Some((_, base)) = ledger.risk.sessions.get(&key).filter(|(start, _)| *start >= from) {
            return Some(*base);
        }
        let is_flat = position.quantity.get().is_zero();
        let mark = mark.map(Price::get).or_else(|| is_flat.then_some(Decimal::ONE))?;
        let contract = risk::contract_or_plain(self.contracts.of(&key.book.symbol));
        let base = position.account_equity(mark, contract)?;
        ledger.risk.begin_session(key, from, base);
        Some(base)
    }

    /// Keeps what the symbol is worth, where a limit goes by it later.
    fn note_prices(&self, ledger: &mut Ledger, asked: &Asked<'_>, rows: &[&LimitRow]) {
        let Some(price) = self.reference(asked.market, ledger.now) else { return };
        if rows.iter().any(|row| row.account || row.strategy_id.is_some()) {
            let at = asked.market.timestamp();
            ledger.risk.set_mark(asked.key(), Mark { price, at });
        }
        self.note_price(ledger, asked.broker, &asked.spec.symbol, price, rows);
    }

    /// For moving collars.
    pub(super) fn note_price(
        &self,
        ledger: &mut Ledger,
        broker: &BrokerName,
        symbol: &Symbol,
        price: Price,
        rows: &[&LimitRow],
    ) {
        let now = ledger.now;
        let windows = rows.iter().filter(|row| row.optional.max_price_move_pct.is_some());
        let Some(window) = windows.filter_map(|row| row.optional.price_move_window_ms).min().map(micros)
        else {
            return;
        };
        let known = ledger.risk.prices.get(&(broker.clone(), symbol.clone()));
        let last = known.and_then(|prices| prices.last().copied());
        let is_due =
            last.is_none_or(|(at, last)| last != price || now.micros_since(at) >= (window / SAMPLES).max(1));
        if is_due {
            ledger.risk.note_price(broker.clone(), symbol.clone(), now, price);
        }
    }

    /// The lowest and the highest reference price within a row's window.
    pub(super) fn price_range(
        &self,
        ledger: &Ledger,
        broker: &BrokerName,
        symbol: &Symbol,
        row: &LimitRow,
    ) -> Option<(Decimal, Decimal)> {
        row.optional.max_price_move_pct?;
        let window_us = row.optional.price_move_window_ms.map(micros)?;
        let prices = ledger.risk.prices.get(&(broker.clone(), symbol.clone()))?;
        let within = prices.iter().filter(|(at, _)| ledger.now.micros_since(*at) <= window_us);
        within.map(|(_, price)| price.get()).fold(None, |range, price| {
            let (low, high) = range.unwrap_or((price, price));
            Some((price.min(low), price.max(high)))
        })
    }

    /// A breach stops its scope, once.
    pub(super) fn stop(&self, ledger: &mut Ledger, breach: &Breach) {
        let now = ledger.now;
        let standing = ledger.control.trading.of_control(&breach.scope, breach.code);
        if standing.is_some_and(|switch| switch.state != TradingState::Active && !switch.is_over(now)) {
            return;
        }
        let session = now.session_start(self.session_start_us);
        let (state, until) = match (breach.code, breach.pause_ms) {
            (_, Some(pause)) => (TradingState::Halted, Some(now.plus_micros(micros(pause)))),
            (Code::DailyLoss, None) => (TradingState::ReduceOnly, Some(session.plus_micros(DAY_US))),
            (_, None) => (TradingState::ReduceOnly, None),
        };
        ledger.change_control(ControlEvent::TradingState(Switch {
            scope: breach.scope.clone(),
            state,
            by: breach.code.as_str().to_owned(),
            why: breach.why.clone(),
            timestamp: now,
            control: Some(breach.code),
            until,
            loss_counts_from: None,
        }));
    }

    /// A strategy that is filled again and again is stopped, until a person looks.
    pub(super) fn watch_fills(&self, ledger: &mut Ledger) {
        for of in std::mem::take(&mut ledger.risk.changes.unwatched_fills) {
            let control = ledger.control.clone();
            for row in control.limits.of(&of.symbol, of.strategy.as_deref()) {
                let limits = &row.optional;
                let (Some(limit), Some(window)) = (limits.max_fills, limits.fills_window_ms) else {
                    continue;
                };
                let scope = match &of.strategy {
                    None => Scope::Symbol(of.symbol.clone()),
                    Some(id) => Scope::StrategySymbol(id.clone(), of.symbol.clone()),
                };
                // What a person has looked at is over.
                let resumed = control.trading.get(&scope).filter(|s| s.state == TradingState::Active);
                let after = ledger.now.plus_micros(-micros(window));
                let after = resumed.map_or(after, |switch| after.max(switch.timestamp));
                let filled = fills_after(ledger, &of, after);
                if filled <= limit {
                    continue;
                }
                let why = format!(
                    "{filled} {} fills in {scope} within {window} ms, max_fills of {} is {limit}",
                    of.side,
                    row.name()
                );
                self.stop(ledger, &Breach { scope, code: Code::RepeatedExecution, why, pause_ms: None });
            }
        }
    }
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(MICROS_PER_MS)
}

fn fills_after(ledger: &Ledger, of: &FillsOf, after: Timestamp) -> u64 {
    let fills = ledger.risk.fills.get(of).into_iter().flatten();
    fills.filter(|(at, _)| *at > after).map(|(_, count)| count).sum()
}

/// An own open order of the other side that would be the counterparty.
fn would_trade_with(ledger: &Ledger, asked: &Asked<'_>) -> Option<ClientOrderId> {
    let (spec, side) = (asked.spec, asked.spec.side);
    let triggered = asked.held.is_some_and(|held| held.state.triggered);
    let mine = risk::resting_price(spec, triggered)?;
    let crosses = |other: Option<Price>| match (mine, other) {
        (Some(mine), Some(other)) if side == Side::Buy => mine >= other,
        (Some(mine), Some(other)) => mine <= other,
        // Without a price either of them takes any.
        (None, _) | (_, None) => true,
    };
    let crosses_with =
        |other: &OrderSpec, triggered: bool| risk::resting_price(other, triggered).is_some_and(crosses);
    let others = ledger.orders.values().map(|record| &record.order);
    let others = others.filter(|other| {
        other.is_live()
            && other.spec.symbol == spec.symbol
            && other.broker == *asked.broker
            && other.spec.side != side
            && (crosses_with(&other.spec, other.state.triggered) || {
                // Either its old terms may be in force or those that are asked for.
                let mut asked = other.spec.clone();
                other.state.pending_replace.as_ref().is_some_and(|pending| {
                    asked.take(&pending.terms);
                    crosses_with(&asked, other.state.triggered)
                })
            })
    });
    others.map(|other| &other.spec.client_order_id).min().cloned()
}
