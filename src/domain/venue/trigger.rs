//! When a conditional order is set free: by the reference price, never by one that is aged or crossed.

use rust_decimal::Decimal;

use crate::domain::amount::{self, Price};
use crate::domain::event::Trail;
use crate::domain::market::Market;
use crate::domain::order::Order;
use crate::domain::order_type::{DistanceType, Side, Trigger};

/// What the market does to an order that waits for a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    /// It goes on waiting.
    Waits,
    /// A trailing stop that goes on waiting, further along.
    Moved(Trail),
    Reached(Price),
}

pub(super) fn watch(order: &Order, market: &Market) -> Watched {
    let Some(price) = market.reference().and_then(|price| Price::new(price).ok()) else {
        return Watched::Waits;
    };
    let side = order.spec.side;
    let reached = |met: bool| if met { Watched::Reached(price) } else { Watched::Waits };
    match order.spec.order_type.trigger() {
        None => Watched::Waits,
        Some(Trigger::Stop(stop)) => reached(is_beyond(side, price, stop)),
        Some(Trigger::Touch(touch)) => reached(is_beyond(side.opposite(), price, touch)),
        Some(Trigger::Trail { distance, distance_type }) => {
            let stop = order.state.trail.map(|trail| trail.stop_price);
            if stop.is_some_and(|stop| is_beyond(side, price, stop)) {
                return Watched::Reached(price);
            }
            let better = order.state.trail.is_none_or(|trail| match side {
                Side::Sell => price > trail.water_mark,
                Side::Buy => price < trail.water_mark,
            });
            // Where the new stop has more digits than a price can hold, the old one stays.
            match trailing_stop(side, price, distance, distance_type).filter(|_| better) {
                Some(stop_price) => Watched::Moved(Trail { water_mark: price, stop_price }),
                None => Watched::Waits,
            }
        }
    }
}

/// The market has moved to the stop or past it, in the direction in which it is to be followed.
fn is_beyond(side: Side, price: Price, stop: Price) -> bool {
    match side {
        Side::Buy => price >= stop,
        Side::Sell => price <= stop,
    }
}

/// The stop of a trailing stop whose best price is `mark`; `None` where there is none above zero, or none that is exact.
#[must_use]
pub fn trailing_stop(side: Side, mark: Price, distance: Price, distance_type: DistanceType) -> Option<Price> {
    let distance = match distance_type {
        DistanceType::Absolute => distance.get(),
        DistanceType::Percent => amount::percent_of(mark.get(), distance.get())?,
    };
    let stop = amount::add(mark.get(), side.signed(distance))?;
    if stop <= Decimal::ZERO { None } else { Price::new(stop).ok() }
}
