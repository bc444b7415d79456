//! Positions and reservations, added up anew.

use super::{Audit, Facts, Fault};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

#[derive(Default, PartialEq, Debug)]
struct Book {
    quantity: Decimal,
    reserved_buy: Decimal,
    reserved_sell: Decimal,
}

pub(super) fn judge(facts: &Facts, audit: &mut Audit) {
    let mut books: BTreeMap<(&str, &str), Book> = BTreeMap::new();
    for order in &facts.journal.orders {
        let book = books.entry((&order.broker, &order.symbol)).or_default();
        let executed = facts.executed(&order.client_order_id);
        book.quantity += if order.buys { executed } else { -executed };
        if !order.is_terminal() {
            // Of a parked replace either quantity may be in force.
            let open = order.asked.map_or(order.quantity, |asked| asked.max(order.quantity)) - order.filled;
            *(if order.buys { &mut book.reserved_buy } else { &mut book.reserved_sell }) += open;
        }
    }
    for position in &facts.journal.positions {
        let book = books.remove(&(position.broker.as_str(), position.symbol.as_str())).unwrap_or_default();
        let (broker, symbol) = (&position.broker, &position.symbol);
        if position.quantity != book.quantity {
            let (told, real) = (position.quantity, book.quantity);
            audit.add(Fault::Books, format!("{broker} {symbol}: a position of {told}, executed {real}"));
        }
        for (side, told, real) in [
            ("buy", position.reserved_buy, book.reserved_buy),
            ("sell", position.reserved_sell, book.reserved_sell),
        ] {
            if told != real {
                let what =
                    format!("{broker} {symbol}: {told} are reserved to {side}, open orders need {real}");
                audit.add(Fault::Books, what);
            }
        }
    }
    for ((broker, symbol), book) in books {
        if book != Book::default() {
            audit.add(Fault::Books, format!("{broker} {symbol}: no position, executed and open: {book:?}"));
        }
    }
}
