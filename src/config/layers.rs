//! The layers: `default.toml`, `<env>.toml`, the environment.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use super::error::ConfigError;
use super::tree::{self, Kind, Node, Origin, Table};

/// Where the files are looked for unless `--config` says otherwise.
pub const DEFAULT_DIRECTORY: &str = "config";
/// The environment that is meant where none is named; the only one that needs no file.
pub const DEFAULT_ENVIRONMENT: &str = "development";

const PREFIX: &str = "ORDER_EXECUTION__";
/// Tables whose keys are symbols, which keep their case.
const KEYED_BY_SYMBOL: [[&str; 3]; 2] = [["broker", "mock", "prices"], ["broker", "mock", "instruments"]];

/// The process's environment, for [`load`](super::load).
///
/// Bytes that are not UTF-8 become U+FFFD, which is refused where a setting uses them.
pub fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect()
}

/// Reads and merges all layers; what is wrong with them goes to `errors`.
pub(super) fn collect(
    directory: &Path,
    environment: &str,
    variables: &BTreeMap<String, String>,
    errors: &mut Vec<ConfigError>,
) -> Table {
    if directory != Path::new(DEFAULT_DIRECTORY) && !directory.is_dir() {
        errors.push(ConfigError::new(directory.display().to_string(), "no such configuration directory"));
    }
    let mut merged = file(&directory.join("default.toml"), 0, false, errors);
    if is_environment_name(environment) {
        let path = directory.join(format!("{environment}.toml"));
        tree::merge(&mut merged, file(&path, 1, environment != DEFAULT_ENVIRONMENT, errors));
    } else {
        errors.push(
            ConfigError::new("app.environment", "must be 1 to 32 of a-z 0-9 _ -")
                .with_value(format!("{environment:?}")),
        );
    }
    tree::merge(&mut merged, from_variables(variables, 2, errors));
    merged
}

fn is_environment_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

pub(super) fn file(path: &Path, layer: usize, required: bool, errors: &mut Vec<ConfigError>) -> Table {
    let shown = path.display().to_string();
    let text = match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            errors.push(ConfigError::new(shown, "is not UTF-8 text"));
            return Table::new();
        }
        Err(error) if error.kind() == ErrorKind::NotFound && !required => return Table::new(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            errors.push(ConfigError::new(shown, "no such file; every named environment needs one"));
            return Table::new();
        }
        Err(error) => {
            errors.push(ConfigError::new(shown, format!("cannot be read: {error}")));
            return Table::new();
        }
    };
    let (table, syntax_errors) = tree::parse(&text, &shown, layer);
    errors.extend(syntax_errors);
    table
}

fn from_variables(
    variables: &BTreeMap<String, String>,
    layer: usize,
    errors: &mut Vec<ConfigError>,
) -> Table {
    let mut tree = Table::new();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let path = key_path(rest);
        let origin = Origin { layer, place: name.clone() };
        if value.contains(char::REPLACEMENT_CHARACTER) {
            errors.push(ConfigError::new(path.join("."), "must be UTF-8 text").at(name));
        } else if path.iter().any(String::is_empty) {
            errors.push(ConfigError::new(name, format!("must be {PREFIX}SECTION__KEY")));
        } else if !insert(&mut tree, &path, value, &origin) {
            errors.push(
                ConfigError::new(
                    path.join("."),
                    "is set twice by the environment, or as a table and a value",
                )
                .at(name),
            );
        }
    }
    tree
}

/// `BROKER__MOCK__PRICES__BTCUSDT` → `broker.mock.prices.BTCUSDT`: lowercase, symbols apart.
fn key_path(rest: &str) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    for segment in rest.split("__") {
        let is_symbol = KEYED_BY_SYMBOL.iter().any(|table| path == table);
        path.push(if is_symbol { segment.to_owned() } else { segment.to_lowercase() });
    }
    path
}

/// Whether there was a place for it.
fn insert(tree: &mut Table, path: &[String], value: &str, origin: &Origin) -> bool {
    match path {
        [] => false,
        [key] if tree.contains_key(key) => false,
        [key] => {
            let node = Node { kind: Kind::Text(value.to_owned()), origin: origin.clone() };
            tree.insert(key.clone(), node);
            true
        }
        [key, rest @ ..] => {
            Node::subtable(tree, key, origin).is_some_and(|table| insert(table, rest, value, origin))
        }
    }
}
