//! The circuit breaker of a broker: after failures enough within a window nothing new goes there for a while, then a few
//! orders show whether it works again. One state for all workers.

use serde::{Deserialize, Serialize};

use super::ids::BrokerName;
use super::refusal::{Code, Refusal};
use super::time::Timestamp;

/// When a broker's circuit opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// So many calls without an answer, or that could not be made, open it.
    pub failures: u64,
    pub window_us: i64,
    pub open_us: i64,
    /// Orders that are let through once it has been open for so long.
    pub probes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CircuitState {
    Closed,
    Open,
    HalfOpen,
}

impl CircuitState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Open => "OPEN",
            Self::HalfOpen => "HALF_OPEN",
        }
    }
}

/// How a broker's circuit stands, since when and why; one that never opened has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circuit {
    pub broker: BrokerName,
    pub state: CircuitState,
    pub why: String,
    pub timestamp: Timestamp,
    /// Open: no order passes before then. Half-open: if its probes have not been answered by then, others follow.
    pub until: Timestamp,
    /// Half-open: orders that were let through.
    pub probes: u64,
}

/// What becomes of an order for a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    Passes,
    /// It is a probe: the circuit stands like this from now on.
    Probes(Circuit),
    Refused(Refusal),
}

impl Circuit {
    #[must_use]
    pub fn gate(circuit: Option<&Self>, breaker: &Breaker, now: Timestamp) -> Gate {
        let Some(circuit) = circuit else { return Gate::Passes };
        let probe = |probes| {
            Gate::Probes(Self {
                state: CircuitState::HalfOpen,
                timestamp: now,
                until: now.plus_micros(breaker.open_us),
                probes,
                ..circuit.clone()
            })
        };
        match circuit.state {
            CircuitState::Closed => Gate::Passes,
            CircuitState::Open | CircuitState::HalfOpen if circuit.until <= now => probe(1),
            CircuitState::HalfOpen if circuit.probes < breaker.probes => probe(circuit.probes + 1),
            CircuitState::Open | CircuitState::HalfOpen => Gate::Refused(circuit.refusal()),
        }
    }

    fn refusal(&self) -> Refusal {
        let Self { broker, why, timestamp, until, .. } = self;
        let reason = match self.state {
            CircuitState::HalfOpen => format!(
                "the circuit of broker {broker} is HALF_OPEN since {timestamp}: {why}; its probes have no answer yet"
            ),
            CircuitState::Open | CircuitState::Closed => format!(
                "the circuit of broker {broker} is OPEN since {timestamp}, until {until}: {why}; only cancels go there"
            ),
        };
        Refusal::new(Code::CircuitOpen, reason)
    }

    /// After a call that failed, where that changes anything. `recent`: failures within the window, this one included.
    #[must_use]
    pub fn failed(
        circuit: Option<&Self>,
        broker: &BrokerName,
        breaker: &Breaker,
        recent: u64,
        why: &str,
        now: Timestamp,
    ) -> Option<Self> {
        let opens = match circuit.map_or(CircuitState::Closed, |circuit| circuit.state) {
            CircuitState::Closed => recent >= breaker.failures,
            CircuitState::HalfOpen => true,
            CircuitState::Open => false,
        };
        let window_ms = breaker.window_us / 1000;
        opens.then(|| Self {
            broker: broker.clone(),
            state: CircuitState::Open,
            why: format!("{recent} calls failed within {window_ms} ms, the last: {why}"),
            timestamp: now,
            until: now.plus_micros(breaker.open_us),
            probes: 0,
        })
    }

    /// After a call that was answered: a probe's answer closes it.
    #[must_use]
    pub fn answered(&self, now: Timestamp) -> Option<Self> {
        (self.state == CircuitState::HalfOpen).then(|| Self {
            state: CircuitState::Closed,
            why: "a probe was answered".to_owned(),
            timestamp: now,
            until: now,
            probes: 0,
            ..self.clone()
        })
    }

    /// Failures count from then on.
    #[must_use]
    pub fn failures_count_from(circuit: Option<&Self>, breaker: &Breaker, now: Timestamp) -> Timestamp {
        let window = now.plus_micros(-breaker.window_us);
        circuit.map_or(window, |circuit| window.max(circuit.timestamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAKER: Breaker = Breaker { failures: 3, window_us: 10_000, open_us: 5_000, probes: 2 };

    fn at(us: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + us)
    }

    fn broker() -> BrokerName {
        "mock".parse().unwrap()
    }

    fn refused(gate: &Gate) -> bool {
        matches!(gate, Gate::Refused(refusal) if refusal.code == Code::CircuitOpen)
    }

    #[test]
    fn it_opens_probes_and_closes() {
        assert_eq!(Circuit::gate(None, &BREAKER, at(0)), Gate::Passes);
        assert_eq!(Circuit::failed(None, &broker(), &BREAKER, 2, "no answer", at(0)), None);
        let open = Circuit::failed(None, &broker(), &BREAKER, 3, "no answer", at(0)).unwrap();
        assert_eq!(open.why, "3 calls failed within 10 ms, the last: no answer");
        assert!(refused(&Circuit::gate(Some(&open), &BREAKER, at(4_999))));
        assert_eq!(Circuit::failed(Some(&open), &broker(), &BREAKER, 9, "x", at(1)), None);
        assert_eq!(open.answered(at(1)), None, "what was asked before it opened says nothing");
        let Gate::Probes(first) = Circuit::gate(Some(&open), &BREAKER, at(5_000)) else { panic!() };
        let Gate::Probes(second) = Circuit::gate(Some(&first), &BREAKER, at(5_001)) else { panic!() };
        assert_eq!((second.state, second.probes), (CircuitState::HalfOpen, 2));
        assert!(refused(&Circuit::gate(Some(&second), &BREAKER, at(5_002))));
        let closed = second.answered(at(5_003)).unwrap();
        assert_eq!(Circuit::gate(Some(&closed), &BREAKER, at(5_003)), Gate::Passes);
        assert_eq!(Circuit::failures_count_from(Some(&closed), &BREAKER, at(6_000)), at(5_003));
        assert_eq!(Circuit::failures_count_from(Some(&closed), &BREAKER, at(16_000)), at(6_000));
        let again = Circuit::failed(Some(&second), &broker(), &BREAKER, 1, "x", at(5_003)).unwrap();
        assert_eq!((again.state, again.until), (CircuitState::Open, at(10_003)));
    }

    #[test]
    fn probes_that_are_never_answered_do_not_keep_it_half_open() {
        let open = Circuit::failed(None, &broker(), &BREAKER, 3, "x", at(0)).unwrap();
        let Gate::Probes(first) = Circuit::gate(Some(&open), &BREAKER, at(5_000)) else { panic!() };
        let Gate::Probes(second) = Circuit::gate(Some(&first), &BREAKER, at(5_000)) else { panic!() };
        assert!(refused(&Circuit::gate(Some(&second), &BREAKER, at(9_999))));
        let Gate::Probes(third) = Circuit::gate(Some(&second), &BREAKER, at(10_000)) else { panic!() };
        assert_eq!(third.probes, 1);
    }
}
