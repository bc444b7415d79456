//! Rows of `[[risk.limits]]`

use rust_decimal::Decimal;

use crate::config::reader::Reader;
use crate::config::scalar::{
    ORDER_TYPES, decimal_above_zero, decimal_from_zero, flag, is_symbol, text, whole, word, word_or,
};
use crate::config::tree::Kind;

/// What every row has beside its symbol; one that is forgotten must not mean "no limit".
const REQUIRED: [&str; 6] = [
    "max_order_quantity",
    "max_order_notional",
    "max_position",
    "max_daily_loss",
    "price_collar_pct",
    "max_orders_per_second",
];
/// The longest window of a limit: a day.
const LONGEST_MS: u64 = 86_400_000;
/// How long a price that moved too far stops its symbol, where the row does not say.
const DEFAULT_PAUSE_MS: u64 = 5_000;
/// As many open orders as are looked through for one that an order would trade against.
const MOST_LOOKED_THROUGH: u64 = 1000;
/// The limits of one symbol, of all symbols that have no row of their own, of a strategy, or of the account. Money is
/// in `risk.currency` where there is one, else in the symbol's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRow {
    /// A symbol or `*`.
    pub symbol: String,
    /// Only the orders of this strategy, in addition to their symbols' rows.
    pub strategy_id: Option<String>,
    /// All orders together, in addition to their symbols' rows.
    pub account: bool,
    pub max_order_quantity: Limit,
    pub max_order_notional: Limit,
    /// Position and open orders of one side together, in units.
    pub max_position: Limit,
    pub max_daily_loss: Limit,
    /// Distance from the reference price, in percent of it.
    pub price_collar_pct: Limit,
    /// In any rolling second, of all workers together.
    pub max_orders_per_second: Limit<u32>,
    pub optional: OptionalLimits,
}

/// Limits that are off where they have no key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OptionalLimits {
    pub max_open_orders: Option<u64>,
    pub max_gross_exposure: Option<Decimal>,
    pub max_net_exposure: Option<Decimal>,
    /// With a window.
    pub max_price_move_pct: Option<Decimal>,
    pub price_move_window_ms: Option<u64>,
    pub price_move_pause_ms: Option<u64>,
    /// With a window.
    pub max_fills: Option<u64>,
    pub fills_window_ms: Option<u64>,
    pub duplicate_window_ms: Option<u64>,
    /// Only with a bound on open orders, of which each is looked at.
    pub prevent_self_trade: bool,
    pub restricted: bool,
    /// `Buy`, `Sell`
    pub allowed_sides: Option<Vec<String>>,
    pub allowed_order_types: Option<Vec<String>>,
    pub allowed_strategies: Option<Vec<String>>,
    pub allowed_symbols: Option<Vec<String>>,
}

/// A limit, which is never absent by accident. Inclusive: exactly at it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit<T = Decimal> {
    Unlimited,
    At(T),
}

impl<T> From<Option<T>> for Limit<T> {
    fn from(limit: Option<T>) -> Self {
        limit.map_or(Self::Unlimited, Self::At)
    }
}

impl LimitRow {
    /// What it is for: no other row may be for the same.
    #[must_use]
    pub fn subject(&self) -> String {
        match (&self.strategy_id, self.account) {
            (_, true) => "the account".to_owned(),
            (Some(strategy), false) => format!("the strategy {strategy:?} and the symbol {:?}", self.symbol),
            (None, false) => format!("the symbol {:?}", self.symbol),
        }
    }

    pub(super) fn read(row: &mut Reader<'_>) -> Option<Self> {
        row.require(&["symbol"], "a symbol or \"*\"");
        row.require(&REQUIRED, "a number in quotes, or \"unlimited\"");
        let symbol = row.read(
            "symbol",
            text("a symbol, 1 to 32 of A-Z a-z 0-9 . _ : / -, or \"*\"", |text| {
                (text == "*" || is_symbol(text)).then(|| text.to_owned())
            }),
        );
        let strategy_id = row.read("strategy_id", name());
        let account = row.read("account", flag()).unwrap_or(false);
        // Each is read before any is missed, so that all of a row's errors are told.
        let mut limit = |key| row.read(key, word_or("unlimited", decimal_from_zero)).map(Limit::from);
        let max_order_quantity = limit("max_order_quantity");
        let max_order_notional = limit("max_order_notional");
        let max_position = limit("max_position");
        let max_daily_loss = limit("max_daily_loss");
        let price_collar_pct = limit("price_collar_pct");
        let max_orders_per_second =
            row.read("max_orders_per_second", word_or("unlimited", whole(0..=u32::MAX))).map(Limit::from);
        let optional = OptionalLimits::read(row);
        let symbol = symbol?;
        if account && (strategy_id.is_some() || symbol != "*") {
            row.refuse("account", "a row of the whole account has symbol = \"*\" and no strategy_id");
        }
        if strategy_id.is_none() && !account && optional.allowed_symbols.is_some() {
            row.refuse("allowed_symbols", "is for rows with strategy_id or account = true");
        }
        Some(Self {
            symbol,
            strategy_id,
            account,
            max_order_quantity: max_order_quantity?,
            max_order_notional: max_order_notional?,
            max_position: max_position?,
            max_daily_loss: max_daily_loss?,
            price_collar_pct: price_collar_pct?,
            max_orders_per_second: max_orders_per_second?,
            optional,
        })
    }
}

impl OptionalLimits {
    fn read(row: &mut Reader<'_>) -> Self {
        row.not_built(&["check_buying_power"]);
        let window = || whole(1..=LONGEST_MS);
        let limits = Self {
            max_open_orders: row.read("max_open_orders", whole(0..=u64::from(u32::MAX))),
            max_gross_exposure: row.read("max_gross_exposure", decimal_from_zero),
            max_net_exposure: row.read("max_net_exposure", decimal_from_zero),
            max_price_move_pct: row.read("max_price_move_pct", decimal_above_zero),
            price_move_window_ms: row.read("price_move_window_ms", window()),
            price_move_pause_ms: row.read("price_move_pause_ms", window()),
            max_fills: row.read("max_fills", whole(0..=u64::from(u32::MAX))),
            fills_window_ms: row.read("fills_window_ms", window()),
            duplicate_window_ms: row.read("duplicate_window_ms", window()),
            prevent_self_trade: row.read("prevent_self_trade", flag()).unwrap_or(false),
            restricted: row.read("restricted", flag()).unwrap_or(false),
            allowed_sides: row.list("allowed_sides", word(&["Buy", "Sell"])),
            allowed_order_types: row.list("allowed_order_types", word(&ORDER_TYPES)),
            allowed_strategies: row.list("allowed_strategies", name()),
            allowed_symbols: row.list(
                "allowed_symbols",
                text("a symbol, 1 to 32 of A-Z a-z 0-9 . _ : / -", |text| {
                    is_symbol(text).then(|| text.to_owned())
                }),
            ),
        };
        limits.check(row);
        limits
    }

    fn check(&self, row: &Reader<'_>) {
        let pairs = [
            (
                "max_price_move_pct",
                self.max_price_move_pct.is_some(),
                "price_move_window_ms",
                self.price_move_window_ms.is_some(),
            ),
            ("max_fills", self.max_fills.is_some(), "fills_window_ms", self.fills_window_ms.is_some()),
        ];
        for (limit, has_limit, window, has_window) in pairs {
            if has_limit && !has_window {
                row.refuse(window, format!("required with {limit}: a number of milliseconds"));
            }
            if has_window && !has_limit {
                row.refuse(limit, format!("required with {window}"));
            }
        }
        let pause = self.price_move_pause_ms.unwrap_or(DEFAULT_PAUSE_MS);
        if let Some(window) = self.price_move_window_ms.filter(|window| *window > pause) {
            row.refuse("price_move_pause_ms", format!("must be at least price_move_window_ms, {window}"));
        }
        if self.price_move_pause_ms.is_some() && self.max_price_move_pct.is_none() {
            row.refuse("max_price_move_pct", "required with price_move_pause_ms");
        }
        if self.prevent_self_trade && self.max_open_orders.is_none_or(|most| most > MOST_LOOKED_THROUGH) {
            row.refuse(
                "max_open_orders",
                format!("required with prevent_self_trade, at most {MOST_LOOKED_THROUGH}: each of them is looked at"),
            );
        }
    }
}

fn name() -> impl Fn(&Kind) -> Result<String, String> {
    text("a text of 1 to 128 characters", |text| {
        (1..=128).contains(&text.chars().count()).then(|| text.to_owned())
    })
}
