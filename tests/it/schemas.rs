//! The published schemas: current, and as strict as the worker. That what workers write is what they say, every
//! test of this suite checks: see `harness/schema.rs`.

use crate::harness::schema::{assert_is, entry_fault, folder, published};
use crate::harness::tools::{node, python, source};
use crate::harness::{Lab, Ran, binary, limit, market};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Payloads that are refused, and that a schema cannot refuse.
const BEYOND: &[(&str, &str)] = &[
    ("symbol twice", "what reads the JSON for a validator keeps one of the two"),
    ("quantity twice, equal", "the same"),
    ("price twice, nested", "the same"),
    ("key twice in metadata", "the same"),
    ("oversized", "a schema cannot count the bytes of a text"),
    ("29 digits as a number", "a JSON number is a number to a schema, however many digits it has"),
    ("more digits than any", "the same"),
    ("remaining", "a schema cannot compare two fields"),
];

/// A payload that the worker refuses does not validate, unless it is one of `BEYOND`; then it does.
pub(crate) fn check_form(what: &str, fields: &[(&'static str, Vec<u8>)]) {
    let mut entry = Map::new();
    for (name, bytes) in fields {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if entry.insert((*name).to_owned(), text.into()).is_some() {
            // A JSON object has a key once: an entry with a field twice cannot even be shown to a validator.
            return;
        }
    }
    let kind =
        ["order", "cancel", "cancel_all", "replace"].into_iter().find(|name| entry.contains_key(*name));
    let definition = match kind {
        Some("order") => "SubmitEntry",
        Some("cancel") => "CancelEntry",
        Some("cancel_all") => "CancelAllEntry",
        Some("replace") => "ReplaceEntry",
        _ => "Request",
    };
    let is_one = crate::harness::schema::fault("Request", &Value::Object(entry.clone())).is_none();
    let validates = is_one && entry_fault(definition, &entry).is_none();
    let why = BEYOND.iter().find(|(name, _)| *name == what).map(|(_, why)| *why);
    assert_eq!(validates, why.is_some(), "{what}: validates {validates}, listed as beyond a schema: {why:?}");
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let file = |path: std::path::PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).expect("text"))
    };
    entries.map(|entry| file(entry.expect("an entry").path())).collect()
}

#[tokio::test]
async fn the_published_schemas_are_those_of_this_program() {
    let folder_of_now = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.args(["schema", "--dir"]).arg(folder_of_now.path()).current_dir(folder_of_now.path());
    Ran::of(command).await.succeeded();
    let (now, then) = (files(folder_of_now.path()), files(&folder()));
    assert_eq!(now.keys().collect::<Vec<_>>(), then.keys().collect::<Vec<_>>(), "the files of schemas/");
    for (name, text) in now {
        assert!(text == then[&name], "schemas/{name} is old: run `order-execution schema --dir schemas`");
    }
}

#[tokio::test]
async fn the_command_prints_one_schema_or_all() {
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(binary());
        let empty = tempfile::tempdir().unwrap();
        command.arg("schema").args(arguments).current_dir(empty.path());
        Ran::of(command).await
    };
    assert_eq!(run(&["order"]).await.succeeded().json(), published("order"));
    assert_eq!(run(&[]).await.succeeded().json(), published("all"));
    let line = run(&["event", "--json"]).await.succeeded();
    assert_eq!((line.json(), line.stdout.lines().count()), (published("event"), 1));
    let said = run(&["orders"]).await.exits(2).said();
    assert!(said.contains("status_message"), "it tells the names: {said}");
    run(&["order", "--dir", "/dev/null/x"]).await.exits(1);
}

#[tokio::test]
async fn what_http_and_the_command_line_tell_is_an_order_too() {
    let lab = Lab::new().await;
    let mut worker = lab.worker().await;
    lab.execute(&market("m", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    lab.execute(&limit("l", "BTCUSDT", "Buy", "1", "44000")).await.is_completed("Acknowledged");
    let orders = lab.cli(&["orders", "--json"]).await.succeeded().json();
    let url = format!("{}/api/orders", worker.http().await);
    let told: Value = serde_json::from_str(&reqwest::get(url).await.unwrap().text().await.unwrap()).unwrap();
    for order in [orders, told].iter().flat_map(|list| list.as_array().unwrap()) {
        assert_is("Order", order);
    }
}

#[test]
fn a_message_that_departs_from_its_schema_is_noticed() {
    let fails = |definition: &str, value: &Value| crate::harness::schema::fault(definition, value).is_some();
    let order = published("order")["examples"][0].clone();
    assert!(!fails("Order", &order));
    for (field, value) in [
        ("filled_quantity", json!(0.5)),
        ("status", json!("PartiallyFilled")),
        ("status", json!("Done")),
        ("created_at", json!("2026-01-31T12:00:00Z")),
        ("broker", Value::Null),
        ("more", json!(1)),
    ] {
        let mut wrong = order.clone();
        wrong[field] = value;
        assert!(fails("Order", &wrong), "{field}: {}", wrong[field]);
    }
    let entry = published("event_entry")["examples"][0].as_object().unwrap().clone();
    assert_eq!(entry_fault("EventEntry", &entry), None);
    for (from, to) in [("Submitted", "Submited"), ("attempt", "attempts"), ("version", "versions")] {
        let mut wrong = entry.clone();
        wrong["events"] = json!(entry["events"].as_str().unwrap().replace(from, to));
        assert!(entry_fault("EventEntry", &wrong).is_some(), "{to}");
    }
}

/// What `scripts/types.sh` makes of the published schemas now, with one of its tools.
async fn types_are_current(tool: (&str, &Path), file: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(source("scripts/types.sh"));
    command.arg(folder.path()).env_remove("TEST_NODE").env_remove("TEST_PYTHON").env(tool.0, tool.1);
    Ran::of(command).await.succeeded();
    let now = files(folder.path());
    assert_eq!(now.keys().collect::<Vec<_>>(), [file], "one file for each tool");
    let published = std::fs::read_to_string(source("docs/types").join(file)).unwrap();
    assert!(published == now[file], "docs/types/{file} is old: run scripts/types.sh");
    assert!(published.contains("StatusMessage") && published.contains("average_fill_price"), "{published}");
}

#[tokio::test]
async fn the_typescript_types_are_those_of_the_schemas() {
    let Some(node) = node() else { return };
    types_are_current(("TEST_NODE", &node), "order-execution.d.ts").await;
}

#[tokio::test]
async fn the_python_types_are_those_of_the_schemas() {
    let Some(python) = python() else { return };
    types_are_current(("TEST_PYTHON", &python), "order_execution.py").await;
}

/// Nothing that is installed from a registry may name its host: mirrors have others.
#[test]
fn the_lock_file_pins_versions_and_names_no_host() {
    let lock: Value =
        serde_json::from_str(&std::fs::read_to_string(source("examples/package-lock.json")).unwrap())
            .unwrap();
    let packages = lock["packages"].as_object().unwrap();
    assert!(packages.len() > 10, "{} packages", packages.len());
    for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
        assert!(package.get("resolved").is_none(), "{name} names where it came from");
        assert!(package["integrity"].is_string(), "{name} has no checksum");
    }
    let wanted: Value =
        serde_json::from_str(&std::fs::read_to_string(source("examples/package.json")).unwrap()).unwrap();
    for (name, version) in
        [&wanted["dependencies"], &wanted["devDependencies"]].iter().flat_map(|d| d.as_object().unwrap())
    {
        assert!(
            version.as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()),
            "{name} {version} is no version"
        );
        assert_eq!(packages[&format!("node_modules/{name}")]["version"], *version, "{name}");
    }
}
