//! Prices: what the market-data feed or the configuration says a symbol is worth.

use std::borrow::Cow;

use rust_decimal::Decimal;

use super::amount::{self, Price, Quantity};
use super::order_type::Side;
use super::time::Timestamp;

/// What is known of a symbol's price.
#[derive(Debug, Clone, PartialEq)]
pub enum Market {
    /// Neither a quote nor a configured price: the symbol does not exist at this broker.
    Unknown,
    /// From the configuration: one price for both sides, of any size, that does not age.
    Fixed(Price),
    /// From `orders:quotes:*`.
    Quoted(Quote),
}

/// A quote as it was written; fields that were missing or unreadable are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quote {
    pub bid: Option<Price>,
    pub ask: Option<Price>,
    pub last: Option<Price>,
    pub bid_size: Option<Quantity>,
    pub ask_size: Option<Quantity>,
    pub timestamp: Option<Timestamp>,
}

/// A price to trade at and how much is offered there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub price: Price,
    /// `None`: any quantity.
    pub size: Option<Quantity>,
}

impl Quote {
    /// Its timestamp is readable, not older than `max_age_us`, and not further in the future either.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp, max_age_us: i64) -> bool {
        self.timestamp.is_some_and(|at| now.micros_since(at).abs() <= max_age_us)
    }

    /// Bid above ask: the feed is broken or the parts are of different times.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        matches!((self.bid, self.ask), (Some(bid), Some(ask)) if bid > ask)
    }
}

impl Market {
    /// What an order on `side` meets: the ask for a buy, the bid for a sell. A quote that has only a
    /// last price offers that; one that has the other side only offers nothing.
    #[must_use]
    pub fn offer(&self, side: Side) -> Option<Offer> {
        match self {
            Self::Unknown => None,
            Self::Fixed(price) => Some(Offer { price: *price, size: None }),
            Self::Quoted(quote) => {
                let (price, size) = match side {
                    Side::Buy => (quote.ask, quote.ask_size),
                    Side::Sell => (quote.bid, quote.bid_size),
                };
                match (price, quote.bid.is_none() && quote.ask.is_none(), quote.last) {
                    (Some(price), _, _) => Some(Offer { price, size }),
                    (None, true, Some(last)) => Some(Offer { price: last, size: None }),
                    (None, _, _) => None,
                }
            }
        }
    }

    /// The reference price: the last trade, else the middle of bid and ask.
    #[must_use]
    pub fn reference(&self) -> Option<Decimal> {
        match self {
            Self::Unknown => None,
            Self::Fixed(price) => Some(price.get()),
            Self::Quoted(quote) => match (quote.last, quote.bid, quote.ask) {
                (Some(last), _, _) => Some(last.get()),
                (None, Some(bid), Some(ask)) => {
                    amount::mul(amount::add(bid.get(), ask.get())?, Decimal::new(5, 1))
                }
                (None, _, _) => None,
            },
        }
    }

    /// A quote that is aged or crossed offers nothing: nobody trades on it.
    #[must_use]
    pub fn tradable(&self, now: Timestamp, max_age_us: i64) -> Cow<'_, Self> {
        match self {
            Self::Quoted(quote) if !quote.is_fresh(now, max_age_us) || quote.is_crossed() => {
                Cow::Owned(Self::Quoted(Quote { timestamp: quote.timestamp, ..Quote::default() }))
            }
            Self::Unknown | Self::Fixed(_) | Self::Quoted(_) => Cow::Borrowed(self),
        }
    }

    /// The moment that a quote's sizes belong to.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::Unknown | Self::Fixed(_) => None,
            Self::Quoted(quote) => quote.timestamp,
        }
    }
}
