//! Every control by name: for `risk controls`, for the documentation, for the metrics.

use serde::Serialize;

use crate::domain::refusal::Code;

/// One control as people are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Control {
    pub name: &'static str,
    /// What an order that it refuses is refused with.
    pub code: Code,
    /// Keys of a row of `risk.limits`; empty: it is always on, or configured elsewhere.
    pub keys: &'static [&'static str],
    pub passes_when: &'static str,
    /// Rule books and incidents that want it.
    pub asked_by: &'static str,
}

/// In the order in which an order meets them.
pub const ALL: &[Control] = &[
    Control {
        name: "trading state, halted",
        code: Code::TradingHalted,
        keys: &[],
        passes_when: "nothing that the order is under (everything, its broker, its strategy, its symbol) is HALTED; cancels pass",
        asked_by: "MiFID II RTS 6 Art. 12",
    },
    Control {
        name: "trading state, reduce-only",
        code: Code::ReduceOnly,
        keys: &[],
        passes_when: "nothing that the order is under is REDUCE_ONLY, or the order shrinks the journaled position there, with all open orders of its side filled too, and never beyond zero",
        asked_by: "MiFID II RTS 6 Art. 12",
    },
    Control {
        name: "limits in force",
        code: Code::NoLimits,
        keys: &["symbol"],
        passes_when: "there is a row for the symbol, or one for *",
        asked_by: "SEC 15c3-5",
    },
    Control {
        name: "order rate",
        code: Code::OrderRate,
        keys: &["max_orders_per_second"],
        passes_when: "fewer requests of the row's scope than the limit were judged in the rolling second, over all workers; those that this control refused and cancels are not counted",
        asked_by: "MiFID II RTS 6 Art. 15(1)(d)",
    },
    Control {
        name: "permission",
        code: Code::Permission,
        keys: &[
            "allowed_sides",
            "allowed_order_types",
            "allowed_strategies",
            "allowed_symbols",
            "restricted",
        ],
        passes_when: "symbol, side, order type and strategy are on the row's lists, where it has lists, and the symbol is not restricted",
        asked_by: "SEC 15c3-5",
    },
    Control {
        name: "market state",
        code: Code::MarketState,
        keys: &[],
        passes_when: "the symbol trades at its broker now and takes this type of order; cancels pass",
        asked_by: "exchanges",
    },
    Control {
        name: "stale price",
        code: Code::StalePrice,
        keys: &[],
        passes_when: "the quote is younger than risk.max_quote_age_ms, not that far in the future, and not crossed; prices from the configuration do not age. Where a sum over several symbols is limited, this holds for each symbol that is held or has open orders",
        asked_by: "Knight Capital 2012",
    },
    Control {
        name: "reference price",
        code: Code::NoReferencePrice,
        keys: &[],
        passes_when: "there is a last price or both a bid and an ask, and, for a market order, a price on the side that it takes",
        asked_by: "every exchange",
    },
    Control {
        name: "rate of exchange",
        code: Code::NoFxRate,
        keys: &[],
        passes_when: "risk.currency is not set, or the symbol's money is in that currency or in one that risk.fx has a rate for",
        asked_by: "SEC 15c3-5",
    },
    Control {
        name: "moving collar",
        code: Code::PriceMove,
        keys: &["max_price_move_pct", "price_move_window_ms", "price_move_pause_ms"],
        passes_when: "highest and lowest reference price within the window are less than the limit apart, in percent of the lowest; else the symbol is HALTED for the pause",
        asked_by: "CME velocity logic",
    },
    Control {
        name: "order quantity",
        code: Code::MaxOrderQuantity,
        keys: &["max_order_quantity"],
        passes_when: "quantity ≤ limit",
        asked_by: "MiFID II RTS 6 Art. 15(1)(c), FIA, every exchange",
    },
    Control {
        name: "order notional",
        code: Code::MaxNotional,
        keys: &["max_order_notional"],
        passes_when: "quantity · multiplier · price · rate of exchange ≤ limit, at the order's limit price, else its stop price, else what the market offers it, with its slippage bound",
        asked_by: "MiFID II RTS 6 Art. 15(1)(b)",
    },
    Control {
        name: "price collar",
        code: Code::PriceCollar,
        keys: &["price_collar_pct"],
        passes_when: "every price that the order names or leads to is within limit percent of the reference price, on both sides; limit prices, stop prices, the stop of a trailing stop, the bound of max_slippage",
        asked_by: "MiFID II RTS 6 Art. 15(1)(a), exchanges",
    },
    Control {
        name: "duplicate",
        code: Code::Duplicate,
        keys: &["duplicate_window_ms"],
        passes_when: "no order of another client order id asked for the same (symbol, side, quantity, type, time in force, broker, strategy) within the window",
        asked_by: "SEC 15c3-5",
    },
    Control {
        name: "self-trade",
        code: Code::SelfTrade,
        keys: &["prevent_self_trade"],
        passes_when: "no own open order of the other side at the same broker is at a price that the order crosses; what waits for its trigger does not count, and what shrinks the position passes",
        asked_by: "exchanges",
    },
    Control {
        name: "worst-case position",
        code: Code::PositionLimit,
        keys: &["max_position"],
        passes_when: "|position ± all open orders of the order's side, this one included| ≤ limit, or the order brings it nearer to zero",
        asked_by: "FIA, exchanges",
    },
    Control {
        name: "open orders",
        code: Code::MaxOpenOrders,
        keys: &["max_open_orders"],
        passes_when: "open orders of the row's scope, this one included, ≤ limit",
        asked_by: "exchanges",
    },
    Control {
        name: "daily loss",
        code: Code::DailyLoss,
        keys: &["max_daily_loss"],
        passes_when: "realized + unrealized − commission of the row's scope since the session's start ≥ −limit; a breach switches the scope to reduce-only until the next session or a person resumes it, and what shrinks the position passes",
        asked_by: "freqtrade and Lean have parts of it",
    },
    Control {
        name: "repeated execution",
        code: Code::RepeatedExecution,
        keys: &["max_fills", "fills_window_ms"],
        passes_when: "strategy, symbol and side were not filled more often than the limit within a window; a breach switches the strategy in the symbol (of orders without a strategy: the symbol) to reduce-only until a person resumes it",
        asked_by: "MiFID II RTS 6 Art. 15(3)",
    },
    Control {
        name: "exposure",
        code: Code::MaxExposure,
        keys: &["max_gross_exposure", "max_net_exposure"],
        passes_when: "worst cases of all symbols of the row's scope, at the prices of now and with this order filled: their sum ≤ gross limit, long against short ≤ net limit; what shrinks the position passes",
        asked_by: "SEC 15c3-5",
    },
    Control {
        name: "circuit breaker",
        code: Code::CircuitOpen,
        keys: &[],
        passes_when: "broker.<name>.breaker is not set, or fewer than its `failures` calls to the broker failed within `window_ms`; else nothing new goes there for `open_ms`, then `probes` orders do, until one of them is answered (closed) or fails (open again); one state for all workers; cancels pass, later attempts wait",
        asked_by: "every exchange gateway",
    },
];

/// What the command and the documentation begin with.
const HEAD: &str = "# Pre-trade controls

Every order is judged by all of these when it is admitted, again before each later attempt, and so are the new terms of
a replace. They are judged in the transaction that journals the attempt, over all workers at once; several rows of limits
hold together, so that the strictest wins. What cannot be judged is refused; cancels always pass. This page is generated:
`order-execution risk controls --markdown`.

";

/// The documentation's page.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    page.push_str(
        "| control | code | keys of `[[risk.limits]]` | passes when | asked by |\n|---|---|---|---|---|\n",
    );
    for control in ALL {
        let keys: Vec<String> = control.keys.iter().map(|key| format!("`{key}`")).collect();
        let keys = if keys.is_empty() { "always on".to_owned() } else { keys.join(", ") };
        let (name, code) = (control.name, control.code);
        let (passes, asked) = (control.passes_when.replace('|', "\\|"), control.asked_by);
        page.push_str(&format!("| {name} | `{code}` | {keys} | {passes} | {asked} |\n"));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_the_limits_has_its_control() {
        let others = [Code::TradingHalted, Code::ReduceOnly, Code::CircuitOpen];
        let risk = Code::ALL.iter();
        let risk = risk.filter(|code| code.as_str().starts_with("RISK_") || others.contains(code));
        for code in risk {
            assert_eq!(ALL.iter().filter(|control| control.code == *code).count(), 1, "{code}");
        }
    }
}
