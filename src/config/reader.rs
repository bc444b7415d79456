//! Reads sections out of the merged tree, and collects everything that is wrong on the way.
//!
//! A section asks for its keys one after the other. A key that is absent or wrong gives `None`, so that the
//! section goes on with its default and the next error is found in the same run; a key that nobody asked for
//! is unknown. No default ever hides an error: [`load`](super::load) fails as soon as there is one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use secrecy::SecretString;

use super::error::ConfigError;
use super::expand::expand;
use super::tree::{Kind, Node, Origin, Table};

const NOT_BUILT: &str = "not built yet in this version; remove it";
/// No secret is longer; guards against a path to something else.
const LONGEST_SECRET_FILE: u64 = 65_536;

/// What all readers of one run share.
pub(super) struct Context<'a> {
    pub(super) variables: &'a BTreeMap<String, String>,
    pub(super) errors: RefCell<Vec<ConfigError>>,
}

impl Context<'_> {
    fn report(&self, error: ConfigError) {
        self.errors.borrow_mut().push(error);
    }
}

/// One table: a section, a row of a list, or the root.
pub(super) struct Reader<'a> {
    context: &'a Context<'a>,
    path: String,
    origin: Option<Origin>,
    table: Table,
    known: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    /// Reads the root table. `read` asks for the sections; whatever it leaves is unknown.
    pub(super) fn root<T>(context: &'a Context<'a>, table: Table, read: impl FnOnce(&mut Self) -> T) -> T {
        Self::run(context, String::new(), None, table, read)
    }

    fn run<T>(
        context: &'a Context<'a>,
        path: String,
        origin: Option<Origin>,
        table: Table,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let mut reader = Self { context, path, origin, table, known: BTreeSet::new() };
        let result = read(&mut reader);
        reader.refuse_the_rest();
        result
    }

    fn refuse_the_rest(self) {
        let known = self.known.iter().copied().collect::<Vec<_>>().join(", ");
        for (key, node) in &self.table {
            // Without the value: a mistyped name may well be that of a secret.
            let problem = format!("unknown key; known here: {known}");
            self.context.report(ConfigError::new(self.key(key), problem).at(&node.origin.place));
        }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.insert(key);
        self.table.remove(key)
    }

    pub(super) fn variable(&self, name: &str) -> Option<&'a str> {
        self.context.variables.get(name).map(String::as_str)
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Reports an error that concerns more than one key, or one that is absent.
    pub(super) fn refuse(&self, key: &str, problem: impl Into<String>) {
        let mut error = ConfigError::new(self.key(key), problem);
        if let Some(origin) = &self.origin {
            error = error.at(&origin.place);
        }
        self.context.report(error);
    }

    /// Reports each of the keys that is absent. To be asked before they are read.
    pub(super) fn require(&mut self, keys: &[&'static str], what: &str) {
        for key in keys {
            if !self.contains(key) {
                self.refuse(key, format!("required: {what}"));
            }
        }
    }

    /// Refuses keys whose feature does not exist yet; silence would look like obedience.
    pub(super) fn not_built(&mut self, keys: &[&'static str]) {
        for key in keys {
            // Not among the known keys: no error should recommend them.
            if let Some(node) = self.table.remove(*key) {
                let refuse = |key: String, node: &Node| {
                    self.context.report(ConfigError::new(key, NOT_BUILT).at(&node.origin.place));
                };
                match &node.kind {
                    // Each key by its own name, so that one can be found.
                    Kind::Table(table) if !table.is_empty() => {
                        table
                            .iter()
                            .for_each(|(inner, node)| refuse(format!("{}.{inner}", self.key(key)), node));
                    }
                    _ => refuse(self.key(key), &node),
                }
            }
        }
    }

    /// One value, read by one of the [`scalar`](super::scalar) readers.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Kind) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.take(key)?;
        read_node(self.context, &self.key(key), node, read)
    }

    /// A list of values; `None` where it is absent or one of them is wrong.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&Kind) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let items = self.items(key)?.into_iter();
        // Collected before it is judged, so that every wrong item is told.
        let read: Vec<_> =
            items.map(|(path, node)| read_node(self.context, &path, node, &mut read)).collect();
        read.into_iter().collect()
    }

    /// A list of tables; none where it is absent. A row that `read` gives up is left out.
    pub(super) fn rows<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Reader<'a>) -> Option<T>,
    ) -> Vec<T> {
        let items = self.items(key).unwrap_or_default();
        items.into_iter().filter_map(|(path, node)| table(self.context, path, node, &mut read)?).collect()
    }

    fn items(&mut self, key: &'static str) -> Option<Vec<(String, Node)>> {
        let node = self.take(key)?;
        let path = self.key(key);
        match node.kind {
            Kind::List(items) => {
                Some(items.into_iter().enumerate().map(|(n, item)| (format!("{path}[{n}]"), item)).collect())
            }
            _ => {
                report(self.context, &path, &node, "must be a list, which only a file can hold");
                None
            }
        }
    }

    /// A table with keys of its own; an absent one reads as empty.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Reader<'a>) -> T) -> T {
        let path = self.key(key);
        let found = self.take(key).and_then(|node| match node.into_table() {
            Ok(table) => Some(table),
            Err(node) => {
                report(self.context, &path, &node, "must be a table");
                None
            }
        });
        Self::run(self.context, path, None, found.unwrap_or_default(), read)
    }

    /// A table whose keys are names of the user's, of values.
    pub(super) fn map<T>(
        &mut self,
        key: &'static str,
        check_name: impl Fn(&str) -> Result<(), String>,
        mut read: impl FnMut(&Kind) -> Result<T, String>,
    ) -> BTreeMap<String, T> {
        self.named(key, check_name, |context, path, node| read_node(context, path, node, &mut read))
    }

    /// A table whose keys are names of the user's, of tables.
    pub(super) fn map_of_tables<T>(
        &mut self,
        key: &'static str,
        check_name: impl Fn(&str) -> Result<(), String>,
        mut read: impl FnMut(&mut Reader<'a>) -> T,
    ) -> BTreeMap<String, T> {
        self.named(key, check_name, |context, path, node| table(context, path.to_owned(), node, &mut read))
    }

    fn named<T>(
        &mut self,
        key: &'static str,
        check_name: impl Fn(&str) -> Result<(), String>,
        mut read: impl FnMut(&'a Context<'a>, &str, Node) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let context = self.context;
        let path = self.key(key);
        let Some(node) = self.take(key) else { return BTreeMap::new() };
        let entries = match node.into_table() {
            Ok(entries) => entries,
            Err(node) => {
                report(context, &path, &node, "must be a table");
                return BTreeMap::new();
            }
        };
        let mut map = BTreeMap::new();
        for (name, node) in entries {
            let path = format!("{path}.{name}");
            if let Err(problem) = check_name(&name) {
                context.report(ConfigError::new(path, problem).at(&node.origin.place));
            } else if let Some(value) = read(context, &path, node) {
                map.insert(name, value);
            }
        }
        map
    }

    /// A secret, from `key` or from the file that `file_key` names, whichever the later layer sets.
    ///
    /// Neither the errors here nor those of `check` may tell the value.
    pub(super) fn secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        check: impl FnOnce(&str) -> Result<(), String>,
    ) -> Option<SecretString> {
        let (value, file) = (self.take(key), self.take(file_key));
        let (node, key, is_file) = match (value, file) {
            (Some(value), Some(file)) if value.origin.layer == file.origin.layer => {
                self.refuse(key, format!("set together with {file_key}; keep one of them"));
                return None;
            }
            (Some(value), Some(file)) if value.origin.layer > file.origin.layer => (value, key, false),
            (_, Some(file)) => (file, file_key, true),
            (Some(value), None) => (value, key, false),
            (None, None) => return None,
        };
        let found = match &node.kind {
            Kind::Text(text) => expand(text, self.context.variables).and_then(|text| {
                let secret = if is_file { read_secret_file(&text)? } else { text };
                check(&secret).map(|()| SecretString::from(secret))
            }),
            Kind::List(_) => Err("a list is not built yet in this version; give one address".to_owned()),
            _ => Err("must be a string".to_owned()),
        };
        found
            .map_err(|problem| {
                self.context.report(ConfigError::new(self.key(key), problem).at(&node.origin.place));
            })
            .ok()
    }
}

fn report(context: &Context<'_>, path: &str, node: &Node, problem: impl Into<String>) {
    context.report(ConfigError::new(path, problem).with_value(node.shown()).at(&node.origin.place));
}

fn read_node<T>(
    context: &Context<'_>,
    path: &str,
    mut node: Node,
    read: impl FnOnce(&Kind) -> Result<T, String>,
) -> Option<T> {
    let expanded = match &node.kind {
        Kind::Text(text) => expand(text, context.variables).map(Some),
        _ => Ok(None),
    };
    let result = expanded.and_then(|text| match text {
        Some(text) => {
            let written = node.replace_text(text);
            let result = read(&node.kind);
            node.kind = written;
            result
        }
        None => read(&node.kind),
    });
    result.map_err(|problem| report(context, path, &node, problem)).ok()
}

fn table<'a, T>(
    context: &'a Context<'a>,
    path: String,
    node: Node,
    read: impl FnOnce(&mut Reader<'a>) -> T,
) -> Option<T> {
    let origin = node.origin.clone();
    match node.into_table() {
        Ok(table) => Some(Reader::run(context, path, Some(origin), table, read)),
        Err(node) => {
            report(context, &path, &node, "must be a table");
            None
        }
    }
}

/// The file's text without the line end that editors and `echo` put behind it.
fn read_secret_file(path: &str) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("{path:?} cannot be read: {error}");
    let length = std::fs::metadata(Path::new(path)).map_err(unreadable)?.len();
    if length > LONGEST_SECRET_FILE {
        return Err(format!("{path:?} has {length} bytes; a secret has at most {LONGEST_SECRET_FILE}"));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{path:?} is empty")),
        secret => Ok(secret.to_owned()),
    }
}
