//! The broker that is an exchange process, as it comes and where it dedupes among open orders only.

use std::sync::Arc;
use std::time::Duration;

use order_execution::adapters::brokers::exchange::ExchangeBroker;
use order_execution::adapters::clock::SystemClock;
use order_execution::domain::amount::Quantity;
use order_execution::domain::profile::Profile;
use order_execution::domain::time::Timestamp;
use order_execution::ports::broker::Broker;
use order_execution::ports::clock::Clock;
use serde_json::json;

use crate::contracts::broker::{BrokerUnderTest, broker_rules};
use crate::harness::Exchange;

struct Process {
    exchange: Exchange,
    profile: Profile,
}

impl Process {
    async fn new(dedupe: &str, profile: Profile) -> Self {
        let priced = |settings: &mut crate::harness::Settings| {
            settings.price("BTCUSDT", "100");
        };
        Self { exchange: Exchange::with(priced, &["--dedupe", dedupe]), profile }
    }
}

impl BrokerUnderTest for Process {
    fn profile(&self) -> Profile {
        self.profile
    }

    async fn broker(&self) -> Arc<dyn Broker> {
        let (name, url) = ("mock".parse().unwrap(), self.exchange.url().to_owned());
        let broker = ExchangeBroker::new(name, url, Duration::from_secs(20), Arc::new(SystemClock));
        Arc::new(broker.unwrap())
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn lose_answers(&self, lost: bool) {
        if lost {
            let rule = json!({ "on": "submit", "fault": { "execute_then_drop": {} } });
            self.exchange.faults(json!({ "rules": [rule] })).await;
        } else {
            self.exchange.no_faults().await;
        }
    }

    async fn executed(&self, client_order_id: &str) -> Quantity {
        let truth = self.exchange.truth(client_order_id).await.unwrap_or_default();
        let generations = truth["generations"].as_array().cloned().unwrap_or_default();
        let filled = generations.iter().map(|one| one["filled_quantity"].as_str().unwrap().parse().unwrap());
        filled.fold(Quantity::ZERO, |sum, part: Quantity| sum.checked_add(part).unwrap())
    }
}

mod dedupes_forever {
    use super::*;
    broker_rules!(as_tests, crate::contracts, Process::new("forever", Profile::DedupesForever));
}

mod dedupes_open {
    use super::*;
    const ONE_SHOT: Profile = Profile::OneShot { settle_us: 1_000_000 };
    broker_rules!(as_tests, crate::contracts, Process::new("open", ONE_SHOT));
}
