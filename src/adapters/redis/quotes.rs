//! Quotes as the market-data feed wrote them.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use redis::Value;

use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::market::Quote;
use crate::domain::time::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::quotes::{Quotes, QuotesError};

use super::Shared;

const FIELDS: [&str; 6] = ["bid", "ask", "last", "bid_size", "ask_size", "timestamp"];

pub struct RedisQuotes {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

impl RedisQuotes {
    pub(super) fn new(shared: Arc<Shared>, clock: Arc<dyn Clock>) -> Self {
        Self { shared, clock }
    }

    fn is_fresh(&self, quote: &Quote, now: Timestamp) -> bool {
        let limit = i64::try_from(self.shared.settings.max_quote_age.as_micros()).unwrap_or(i64::MAX);
        quote.timestamp.is_some_and(|at| now.micros_since(at) <= limit)
    }
}

#[async_trait]
impl Quotes for RedisQuotes {
    async fn read(
        &self,
        wanted: &[(BrokerName, Symbol)],
    ) -> Result<HashMap<(BrokerName, Symbol), Quote>, QuotesError> {
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let names = &self.shared.names;
        let mut pipe = redis::Pipeline::with_capacity(wanted.len() * 2);
        // A name that holds something else than a hash is an unreadable quote, not a failed read of all.
        pipe.ignore_errors();
        for (broker, symbol) in wanted {
            pipe.cmd("HMGET").arg(names.broker_quote(broker, symbol)).arg(&FIELDS);
            pipe.cmd("HMGET").arg(names.quote(symbol)).arg(&FIELDS);
        }
        let failed =
            |fault| QuotesError { what: format!("of {} symbols", wanted.len()), source: Box::new(fault) };
        let answers: Vec<Value> = self.shared.link.pipe(&pipe).await.map_err(failed)?;
        for answer in &answers {
            if let Value::ServerError(error) = answer
                && error.code() != "WRONGTYPE"
            {
                return Err(failed(self.shared.link.fault_of(error.clone().into())));
            }
        }
        let now = self.clock.now();
        let mut quotes = HashMap::with_capacity(wanted.len());
        for (pair, answer) in wanted.iter().zip(answers.chunks(2)) {
            let (own, common) = (answer.first().and_then(quote), answer.get(1).and_then(quote));
            let chosen = match own {
                Some(own) if common.is_none() || self.is_fresh(&own, now) => Some(own),
                _ => common,
            };
            if let Some(quote) = chosen {
                quotes.insert(pair.clone(), quote);
            }
        }
        Ok(quotes)
    }
}

/// `None`: there is no such hash. What is there and cannot be read is a quote without prices.
fn quote(answer: &Value) -> Option<Quote> {
    let Value::Array(fields) = answer else { return Some(Quote::default()) };
    if fields.iter().all(|field| matches!(field, Value::Nil)) {
        return None;
    }
    Some(Quote {
        bid: field(fields, 0),
        ask: field(fields, 1),
        last: field(fields, 2),
        bid_size: field(fields, 3),
        ask_size: field(fields, 4),
        timestamp: field(fields, 5),
    })
}

fn field<T: FromStr>(fields: &[Value], index: usize) -> Option<T> {
    match fields.get(index)? {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}
