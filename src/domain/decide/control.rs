//! What people change for all orders at once.

use crate::domain::control::{ControlEvent, LimitsChange};
use crate::domain::ledger::Ledger;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::trading_state::{Scope, Switch, TradingState};

use super::{Decision, Effect};

/// The kill switch, as a person uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchTo {
    pub scope: Scope,
    pub state: TradingState,
    pub by: String,
    pub why: String,
}

/// Other limits, all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetLimits {
    pub change: LimitsChange,
    /// Only where the limits in force are those of this revision; `None`: only where there are none.
    pub instead_of: Option<u64>,
}

pub(super) fn switch(ledger: &mut Ledger, to: &SwitchTo) -> Decision {
    // After a loss that stopped it, what is lost from now on counts.
    let before = ledger.control.trading.get(&to.scope).and_then(|switch| switch.loss_counts_from);
    let stopped = ledger.control.trading.of_control(&to.scope, Code::DailyLoss);
    let resumes = to.state == TradingState::Active && stopped.is_some_and(|by| !by.is_over(ledger.now));
    let switch = Switch {
        scope: to.scope.clone(),
        state: to.state,
        by: to.by.clone(),
        why: to.why.clone(),
        timestamp: ledger.now,
        control: None,
        until: None,
        loss_counts_from: if resumes { Some(ledger.now) } else { before },
    };
    ledger.change_control(ControlEvent::TradingState(switch));
    Decision::effect(Effect::Nothing)
}

pub(super) fn set_limits(ledger: &mut Ledger, set: &SetLimits) -> Decision {
    let refused =
        |reason: &str| Decision::effect(Effect::Refused(Refusal::new(Code::ValidationFailed, reason)));
    if set.change.rows.is_empty() {
        return refused("there is not one row: without any nothing is traded, which `halt` says better");
    }
    match set.instead_of {
        None if !ledger.control.limits.is_empty() => return refused("limits are in force already"),
        Some(revision) if revision != ledger.control.revision => {
            return refused("somebody changed limits or the trading state meanwhile: look at them again");
        }
        None | Some(_) => {}
    }
    ledger.change_control(ControlEvent::Limits(set.change.clone()));
    Decision::effect(Effect::Nothing)
}
