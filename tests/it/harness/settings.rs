//! The configuration a test writes: a folder with `default.toml`, made from dotted keys.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Dotted keys and their values as TOML text. The last part of a key is the key, what is before it the table.
#[derive(Clone)]
pub(crate) struct Settings {
    tables: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) limits: Vec<Limits>,
}

impl Settings {
    pub(crate) fn new(redis_url: &str, prefix: &str, database_url: &str) -> Self {
        let mut settings = Self { tables: BTreeMap::new(), limits: vec![Limits::unlimited("*")] };
        settings.text("app.log_format", "json");
        settings.text("app.log_level", "info");
        settings.text("redis.url", redis_url);
        settings.text("streams.prefix", prefix);
        settings.text("streams.group", "execution");
        settings.text("database.url", database_url);
        settings.text("http.listen", "127.0.0.1:0");
        settings.set("risk.max_quote_age_ms", "60000");
        settings.text("broker.mode", "mock");
        settings.set("broker.mock.seed", "7");
        settings.price("BTCUSDT", "45000");
        settings.price("ETHUSDT", "3000");
        settings.price("ONE", "1");
        settings
    }

    /// `value` as TOML text: `5`, `"5"`, `true`, `{ a = "1" }`.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> &mut Self {
        let (table, key) = key.rsplit_once('.').expect("a dotted key");
        self.tables.entry(table.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.set(key, &format!("{value:?}"))
    }

    pub(crate) fn price(&mut self, symbol: &str, price: &str) -> &mut Self {
        self.text(&format!("broker.mock.prices.{symbol}"), price)
    }

    pub(crate) fn instrument(&mut self, symbol: &str, rules: &str) -> &mut Self {
        self.set(&format!("broker.mock.instruments.{symbol}"), rules)
    }

    pub(crate) fn limits(&mut self, rows: impl IntoIterator<Item = Limits>) -> &mut Self {
        self.limits = rows.into_iter().collect();
        self
    }

    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        for (table, entries) in &self.tables {
            writeln!(text, "[{table}]").unwrap();
            for (key, value) in entries {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        for row in &self.limits {
            text.push_str(&row.to_toml());
        }
        text
    }
}

/// One row of `risk.limits`.
#[derive(Clone)]
pub(crate) struct Limits(BTreeMap<String, String>);

impl Limits {
    pub(crate) fn unlimited(symbol: &str) -> Self {
        let keys = [
            "max_order_quantity",
            "max_order_notional",
            "max_position",
            "max_daily_loss",
            "price_collar_pct",
            "max_orders_per_second",
        ];
        let mut row: BTreeMap<_, _> =
            keys.into_iter().map(|k| (k.to_owned(), "\"unlimited\"".to_owned())).collect();
        row.insert("symbol".to_owned(), format!("{symbol:?}"));
        Self(row)
    }

    /// `value` as TOML text.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.0.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn to_toml(&self) -> String {
        let lines = self.0.iter().map(|(key, value)| format!("{key} = {value}\n"));
        std::iter::once("[[risk.limits]]\n".to_owned()).chain(lines).collect()
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        self.0.remove(key).expect("the key was there");
        self
    }
}
