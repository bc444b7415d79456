//! The merged tree of values, each with the place it was written at.
//!
//! Our own small tree rather than the `config` crate's: that one lowercases every name that comes from the
//! environment (`…__PRICES__BTCUSDT` would set `btcusdt`), reads numbers through floats, stops at the first
//! error and forgets on which line a value stood.

use std::collections::BTreeMap;
use std::mem;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;

pub(super) type Table = BTreeMap<String, Node>;

/// Not `Debug`: a tree holds secrets.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) origin: Origin,
}

#[derive(Clone)]
pub(super) enum Kind {
    Text(String),
    Integer(i128),
    /// A number that is no integer, as it was written.
    Real(String),
    Boolean(bool),
    /// A TOML date or time, as it was written.
    Time(String),
    List(Vec<Node>),
    Table(Table),
}

/// Where a value comes from; of two layers the one with the higher number wins.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) layer: usize,
    /// `config/default.toml:12`, or the name of an environment variable.
    pub(super) place: String,
}

/// Lays `over` on `base`: tables are merged key by key, everything else, lists too, is replaced.
pub(super) fn merge(base: &mut Table, over: Table) {
    for (key, node) in over {
        match base.get_mut(&key) {
            Some(Node { kind: Kind::Table(below), origin }) if matches!(node.kind, Kind::Table(_)) => {
                *origin = node.origin;
                if let Kind::Table(above) = node.kind {
                    merge(below, above);
                }
            }
            _ => {
                base.insert(key, node);
            }
        }
    }
}

/// Parses one TOML file. What could be read is returned even where there are errors, so that the rest of the
/// file is checked in the same run; a value on a line that has an error is left out.
pub(super) fn parse(text: &str, path: &str, layer: usize) -> (Table, Vec<ConfigError>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut file = File { text, path, layer, broken_lines: Vec::new() };
    let errors = errors
        .iter()
        .map(|error| {
            // Only the message: the rendered error quotes the line, which may hold a secret.
            let line = file.line(error.span().map_or(0, |span| span.start));
            file.broken_lines.push(line);
            ConfigError::new("TOML", error.message()).at(format!("{path}:{line}"))
        })
        .collect();
    (file.table(document.into_inner()), errors)
}

struct File<'a> {
    text: &'a str,
    path: &'a str,
    layer: usize,
    broken_lines: Vec<usize>,
}

impl File<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Whether an error stands on one of the lines of a single value. What the parser made of it is a guess,
    /// and of a quote that is not closed it may be the rest of the file.
    fn is_broken(&self, first_line: usize, value: &Spanned<DeValue<'_>>) -> bool {
        let lines = first_line..=self.line(value.span().end);
        let is_single = !value.get_ref().is_table() && !value.get_ref().is_array();
        is_single && self.broken_lines.iter().any(|line| lines.contains(line))
    }

    fn table(&self, table: DeTable<'_>) -> Table {
        table
            .into_iter()
            .filter_map(|(key, value)| {
                let line = self.line(key.span().start);
                let readable = !self.is_broken(line, &value);
                readable.then(|| (key.into_inner().into_owned(), self.node(value, line)))
            })
            .collect()
    }

    fn node(&self, value: Spanned<DeValue<'_>>, line: usize) -> Node {
        let kind = match value.into_inner() {
            DeValue::String(text) => Kind::Text(text.into_owned()),
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Kind::Real(number.to_string()), Kind::Integer),
            DeValue::Float(number) => Kind::Real(number.as_str().to_owned()),
            DeValue::Boolean(boolean) => Kind::Boolean(boolean),
            DeValue::Datetime(time) => Kind::Time(time.to_string()),
            DeValue::Array(items) => Kind::List(
                items
                    .into_iter()
                    .map(|item| {
                        let line = self.line(item.span().start);
                        self.node(item, line)
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Kind::Table(self.table(table)),
        };
        Node { kind, origin: Origin { layer: self.layer, place: format!("{}:{line}", self.path) } }
    }
}

impl Node {
    pub(super) fn into_table(self) -> Result<Table, Self> {
        match self.kind {
            Kind::Table(table) => Ok(table),
            kind => Err(Self { kind, ..self }),
        }
    }

    /// The table at `key`, made where there is nothing yet. `None` where something else is in the way.
    pub(super) fn subtable<'a>(table: &'a mut Table, key: &str, origin: &Origin) -> Option<&'a mut Table> {
        let empty = || Node { kind: Kind::Table(Table::new()), origin: origin.clone() };
        match &mut table.entry(key.to_owned()).or_insert_with(empty).kind {
            Kind::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The value as an error shows it: as it was written, before `${NAME}`, and not longer than a line.
    pub(super) fn shown(&self) -> String {
        const LONGEST: usize = 80;
        match &self.kind {
            Kind::Text(text) if text.chars().count() > LONGEST => {
                format!("{:?}…", text.chars().take(LONGEST).collect::<String>())
            }
            Kind::Text(text) => format!("{text:?}"),
            Kind::Integer(number) => number.to_string(),
            Kind::Real(text) | Kind::Time(text) => text.clone(),
            Kind::Boolean(boolean) => boolean.to_string(),
            Kind::List(_) => "[…]".to_owned(),
            Kind::Table(_) => "{…}".to_owned(),
        }
    }

    /// Replaces the text, returning what stood there.
    pub(super) fn replace_text(&mut self, text: String) -> Kind {
        mem::replace(&mut self.kind, Kind::Text(text))
    }
}
