use std::sync::Arc;

use uuid::Uuid;

use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::market::Quote;
use crate::domain::time::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::quotes::Quotes;

use super::Lab;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-01-31T12:00:00Z".parse().unwrap()
    }

    fn uuid(&self) -> Uuid {
        Uuid::nil()
    }
}

const FRESH: &str = "timestamp 2026-01-31T11:59:56Z";
const STALE: &str = "timestamp 2026-01-31T11:59:50Z";

/// What is read for broker `mock` and symbol `S` after these were written.
async fn read(writes: &[&str]) -> Option<Quote> {
    let lab = Lab::new().await;
    for write in writes {
        lab.ask::<()>(write).await;
    }
    let quotes = lab.redis("a").await.quotes(Arc::new(Noon));
    let pair: (BrokerName, Symbol) = ("mock".parse().unwrap(), "S".parse().unwrap());
    let other = (pair.0.clone(), "OTHER".parse().unwrap());
    let mut found = quotes.read(&[other.clone(), pair.clone()]).await.unwrap();
    assert_eq!(found.remove(&other), None);
    found.remove(&pair)
}

fn bid(quote: Option<Quote>) -> Option<String> {
    quote.unwrap().bid.map(|bid| bid.to_string())
}

#[tokio::test]
async fn a_quote_is_read_as_it_was_written() {
    let all = format!("HSET t:quotes:S bid 1.10 ask 1.2 last 1.15 bid_size 5 ask_size 7 source feed {FRESH}");
    let quote = read(&[&all]).await.unwrap();
    assert_eq!(quote.bid.unwrap().to_string(), "1.1");
    assert_eq!(quote.ask_size.unwrap().to_string(), "7");
    assert_eq!(quote.timestamp.unwrap().to_string(), "2026-01-31T11:59:56.000000Z");
}

#[tokio::test]
async fn the_brokers_own_quote_comes_first_while_it_is_fresh() {
    let common = format!("HSET t:quotes:S bid 1 {FRESH}");
    let own = |age| format!("HSET t:quotes:mock:S bid 2 {age}");
    assert_eq!(bid(read(&[&common, &own(FRESH)]).await).as_deref(), Some("2"));
    assert_eq!(bid(read(&[&common, &own(STALE)]).await).as_deref(), Some("1"));
    assert_eq!(bid(read(&[&common, &own("")]).await).as_deref(), Some("1"), "of unknown age");
    assert_eq!(bid(read(&[&own(STALE)]).await).as_deref(), Some("2"), "for the domain to judge");
    assert_eq!(bid(read(&[&format!("HSET t:quotes:S bid 1 {STALE}")]).await).as_deref(), Some("1"));
}

#[tokio::test]
async fn what_cannot_be_read_is_a_quote_without_prices_and_what_is_not_there_is_left_out() {
    assert_eq!(read(&[]).await, None);
    assert_eq!(read(&["HSET t:quotes:S bid abc timestamp now"]).await, Some(Quote::default()));
    assert_eq!(read(&["SET t:quotes:S abc"]).await, Some(Quote::default()));
}
