//! What happens without a request of a trader's: time ends orders, trades are corrected or taken back.

use crate::domain::time::Timestamp;

use super::super::message::{Answer, Answered, Code, Refused, Revision};
use super::super::transaction::Trade;
use super::{Book, BookError, News};

impl Book {
    /// Ends every order whose time is up. Done before anything else happens at that time, so nothing is executed after it.
    pub(super) fn end_by_time(&mut self, now: Timestamp) -> Result<(), BookError> {
        while let Some((ends_us, index)) = self.state.ending.first().copied() {
            let Some(order) = self.state.orders.get(index).filter(|_| ends_us <= now.micros()) else {
                return Ok(());
            };
            let (order, ends_at) = (order.clone(), Timestamp::from_micros(ends_us));
            let reason = format!("{} ended at {ends_at}", order.placement.time_in_force.name());
            self.note(&order, News::Expired(reason), None, now)?;
        }
        Ok(())
    }

    /// Corrects a trade, or takes it back.
    pub(super) fn revise(&mut self, revision: Revision, now: Timestamp) -> Result<Answered, BookError> {
        let Revision { trade_id, terms, reason } = revision;
        let order = self.state.traded.get(&trade_id).and_then(|index| self.state.orders.get(*index)).cloned();
        let trade = order.as_ref().and_then(|o| o.trades.iter().find(|t| t.trade_id == trade_id)).cloned();
        let (Some(order), Some(trade)) = (order, trade) else {
            let message = format!("no trade has the id {trade_id}: /orders/<client_order_id> shows them");
            return Ok(Err(Refused::new(Code::UnknownTrade, message)));
        };
        if trade.busted_us.is_some() {
            let message = format!("trade {trade_id} was taken back already");
            return Ok(Err(Refused::new(Code::Rejected, message)));
        }
        let news = match terms {
            None => News::TradeBusted(Trade { busted_us: Some(now.micros()), ..trade }, reason),
            Some((quantity, price)) => {
                let corrected_us = Some(now.micros().max(trade.corrected_us.unwrap_or(0) + 1));
                News::TradeCorrected(Trade { quantity, price, corrected_us, ..trade }, reason)
            }
        };
        // Judged on a copy, so that what does not fit is refused and not a fault of the book.
        let mut tried = order.clone();
        if let News::TradeCorrected(trade, _) | News::TradeBusted(trade, _) = &news
            && let Err(why) = tried.revise(trade)
        {
            return Ok(Err(Refused::new(Code::Rejected, format!("trade {trade_id}: it {why}"))));
        }
        self.note(&order, news, None, now)?;
        // What it opened again stays in the book only where the order may.
        let may_rest = order.placement.time_in_force.may_rest() && order.order_type.limit_price().is_some();
        if tried.is_open() && !order.is_open() && !may_rest {
            self.note(&order, News::Cancelled("a trade was revised".to_owned()), None, now)?;
        }
        Ok(Ok(Answer::Done))
    }
}
