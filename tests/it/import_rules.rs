//! Who may import whom (DESIGN 2, the table in `src/lib.rs`), and how long a file may be.

use std::path::{Path, PathBuf};

const EVERYTHING: &[&str] = &["*"];

/// What a module of the crate's root may import, itself aside.
const RULES: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("wire", &["domain"]),
    ("ports", &["domain"]),
    ("engine", &["domain", "ports", "wire"]),
    ("workers", &["engine", "ports", "domain", "wire", "runtime"]),
    ("api", &["engine", "ports", "domain", "wire", "runtime"]),
    // … and their own section of `config`: see `CONFIG_SECTIONS`. Never each other.
    ("adapters", &["domain", "ports", "wire"]),
    ("exchange", &["domain", "runtime"]),
    ("config", &[]),
    ("runtime", &[]),
    // Nothing in a program that is not under test: see `FOR_ALL`.
    ("crash", &[]),
    ("planted", &[]),
    ("app", EVERYTHING),
    ("cli", EVERYTHING),
    ("main", EVERYTHING),
    ("lib", EVERYTHING),
];

/// The adapters that must not know each other, and the sections of the configuration that are theirs.
const CONFIG_SECTIONS: &[(&str, &[&str])] =
    &[("redis", &["redis", "streams"]), ("journal", &["database"]), ("brokers", &["broker"])];

/// What every module may import.
const FOR_ALL: &[&str] = &["crash", "planted"];

const LONGEST_FILE: usize = 500;

/// The paths into the crate that a source text names, each as its segments after `crate`. `super` is followed
/// from `module`, the path of the file's own module.
fn imports(module: &[&str], source: &str) -> Vec<Vec<String>> {
    let code: String =
        source.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for root in ["crate", "order_execution", "super"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            let rest = &code[at + root.len()..];
            if before.is_some_and(|c| is_word(c) || c == ':') || !rest.starts_with("::") {
                continue;
            }
            let mut base: Vec<String> = Vec::new();
            let mut rest = rest;
            if root == "super" {
                let mut depth = 1;
                while let Some(further) = rest.strip_prefix("::super") {
                    (depth, rest) = (depth + 1, further);
                }
                base = module[..module.len().saturating_sub(depth)].iter().map(|s| (*s).to_owned()).collect();
            }
            tree(rest, &base, &mut found);
        }
    }
    found
}

/// Reads what follows a path's segment (`::name…`, `::{…}`, or its end) and adds the paths it stands for.
/// Returns the text behind it.
fn tree<'a>(text: &'a str, base: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let Some(text) = text.strip_prefix("::") else {
        found.push(base.to_vec());
        return text;
    };
    if let Some(mut text) = text.strip_prefix('{') {
        loop {
            text = text.trim_start();
            if let Some(behind) = text.strip_prefix('}') {
                return behind;
            }
            let behind = segment(text, base, found);
            // Past `as name` and the comma; a text that goes on in no known way ends the walk.
            let end = behind.find([',', '}']).unwrap_or(behind.len());
            text = behind[end..].strip_prefix(',').unwrap_or(&behind[end..]);
            if text.is_empty() {
                return text;
            }
        }
    }
    segment(text, base, found)
}

fn segment<'a>(text: &'a str, base: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '#').unwrap_or(text.len());
    let mut path = base.to_vec();
    path.push(text[..end].to_owned());
    tree(&text[end..], &path, found)
}

/// What is wrong with the imports of one file of `src/`, one sentence each.
fn violations(file: &str, source: &str) -> Vec<String> {
    let inner = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let module: Vec<&str> = inner.split('/').collect();
    let layer = module[0];
    // A module's own tests may stand on what the module may not (a private Redis, the codec of the wire).
    if module[1..].contains(&"tests") {
        return Vec::new();
    }
    let Some((_, allowed)) = RULES.iter().find(|(name, _)| *name == layer) else {
        return vec![format!(
            "{file}: `{layer}` has no rule; add one here, in DESIGN 2's terms, and to src/lib.rs"
        )];
    };
    let mut wrong = Vec::new();
    for path in imports(&module, source) {
        let Some(target) = path.first().map(String::as_str) else { continue };
        let known = RULES.iter().any(|(name, _)| *name == target);
        let same = target == layer;
        let fine = if layer == "adapters" && same {
            let other = path.get(1).filter(|name| CONFIG_SECTIONS.iter().any(|(adapter, _)| adapter == name));
            other.is_none_or(|other| module.get(1) == Some(&other.as_str()) || module.len() == 1)
        } else if layer == "adapters" && target == "config" {
            own_section(&module, &path)
        } else {
            !known || same || FOR_ALL.contains(&target) || allowed.contains(&target) || *allowed == EVERYTHING
        };
        if !fine {
            wrong.push(format!("{file}: `{layer}` must not import `{}`", path.join("::")));
        }
    }
    wrong
}

/// A section by its module's name, or a type that the section's own name begins.
fn own_section(module: &[&str], path: &[String]) -> bool {
    let sections =
        CONFIG_SECTIONS.iter().find(|(adapter, _)| module.get(1) == Some(adapter)).map_or(&[][..], |s| s.1);
    path.get(1).is_some_and(|named| sections.iter().any(|section| named.to_lowercase().starts_with(section)))
}

fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn the_layers_import_only_what_they_may() {
    let sources = sources();
    assert!(sources.len() > 20, "only {} source files found", sources.len());
    let paths: usize = sources.iter().map(|(_, text)| imports(&["x"], text).len()).sum();
    assert!(paths > 50, "only {paths} imports found: the checker reads nothing");
    let wrong: Vec<_> = sources.iter().flat_map(|(file, text)| violations(file, text)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_source_file_is_longer_than_one_sitting() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "src/{file} has {lines} lines, {LONGEST_FILE} are the most");
    }
}

#[test]
fn the_checker_finds_what_is_forbidden() {
    let bad = [
        ("domain/order.rs", "use crate::ports::Clock;"),
        ("domain/order.rs", "fn f() { crate::engine::run() }"),
        ("domain/order.rs", "use super::super::adapters::redis;"),
        (
            "domain/order.rs",
            "pub(crate) use crate::{\n    domain::event::Event,\n    wire::{entry, order as o},\n};",
        ),
        ("ports/mod.rs", "use super::engine::Engine;"),
        ("ports/broker.rs", "use crate::config::Config;"),
        ("engine/mod.rs", "use crate::adapters::redis::Inbox;"),
        ("engine/mod.rs", "use crate::api;"),
        ("workers/requests.rs", "let x: crate::adapters::journal::Sqlite;"),
        ("api/http.rs", "use crate::workers::requests;"),
        ("config/mod.rs", "use crate::domain::amount::Amount;"),
        ("runtime/telemetry.rs", "use crate::config::App;"),
        ("adapters/redis/inbox.rs", "use crate::adapters::journal::rows;"),
        ("adapters/redis/inbox.rs", "use super::super::journal::rows;"),
        ("adapters/redis/inbox.rs", "use crate::config::database::Database;"),
        ("adapters/journal/sqlite.rs", "use crate::config::Config;"),
        ("adapters/journal/sqlite.rs", "use crate::engine::Engine;"),
        ("exchange/http/mod.rs", "use crate::ports::clock::Clock;"),
        ("exchange/book/mod.rs", "use crate::config::Settings;"),
        ("misc/mod.rs", ""),
        ("wire/mod.rs", "use order_execution::ports::Clock;"),
    ];
    for (file, source) in bad {
        assert!(!violations(file, source).is_empty(), "{file}: {source}");
    }
}

#[test]
fn the_checker_lets_pass_what_is_allowed() {
    let good = [
        ("domain/order.rs", "use crate::domain::event::Event; use super::event; use std::fmt;"),
        ("domain/order.rs", "// not crate::ports, only said\n/// [`x`](crate::engine::x)"),
        ("domain/order.rs", "mod tests { use super::*; use super::super::event; }"),
        ("domain/order.rs", "use mycrate::ports::x; use a::crate_::engine;"),
        ("ports/broker.rs", "use crate::{domain::{order::Order, status}, ports::clock};"),
        ("workers/requests.rs", "use crate::{engine, ports, domain, wire, runtime::shutdown};"),
        (
            "adapters/redis/inbox.rs",
            "use crate::{adapters::redis::codec, config::streams::Streams, ports::Inbox};",
        ),
        (
            "adapters/redis/inbox.rs",
            "use super::codec; use super::super::redis::x; use crate::config::RedisConfig;",
        ),
        ("adapters/clock.rs", "mod tests { use super::*; use super::SystemClock; }"),
        ("adapters/mod.rs", "pub mod redis; use self::journal::x; use crate::adapters::journal;"),
        ("adapters/redis/tests/mod.rs", "use crate::runtime::private_redis::PrivateRedis;"),
        ("exchange/book/mod.rs", "use super::message::X; use crate::domain::venue::Venue;"),
        ("app.rs", "use crate::{adapters, api, config, engine, workers};"),
        ("main.rs", "use order_execution::app;"),
        ("cli/mod.rs", "use crate::app; use super::config;"),
    ];
    for (file, source) in good {
        assert_eq!(violations(file, source), Vec::<String>::new(), "{file}: {source}");
    }
}
