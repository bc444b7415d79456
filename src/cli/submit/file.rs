//! A file of orders, read and looked through as a whole before anything of it is sent.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use clap::ValueEnum;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::adapters::clock::SystemClock;
use crate::app::AppError;
use crate::cli::fields::Fields;
use crate::ports::clock::Clock;

use super::sheet;

/// All of a file is in memory at once.
const LONGEST: u64 = 64 * 1024 * 1024;
const MOST: usize = 500_000;
/// The byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// Lines that are told to be wrong, at most.
const TOLD: usize = 10;
/// Characters of a hash that are part of a name.
const HASH: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One order, or an array of them
    Json,
    /// An order a line
    Jsonl,
    /// A header with the names of fields, then an order a line
    Csv,
}

/// An order as it goes out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Where it stands in the file.
    pub(super) line: u64,
    pub(super) client_order_id: String,
    /// Its UUID. Where the command line made it, an outcome with another one is of an order that was there before.
    pub(super) id: Option<String>,
    pub(super) is_id_ours: bool,
    pub(super) json: String,
}

/// What a line holds, or why it is no order.
pub(super) type Read1 = (u64, Result<Fields, String>);

pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) format: Option<Format>,
    /// The name of the only order.
    pub(super) name: Option<&'a str>,
    /// Makes the names of this run others than those of the same rows before.
    pub(super) batch: Option<&'a str>,
    pub(super) max_payload_bytes: usize,
}

impl Source<'_> {
    /// The orders of the file, each with a name. Whatever is wrong with any of them is told, and none is sent.
    pub(super) fn orders(&self) -> Result<Vec<Row>, AppError> {
        let text = self.text()?;
        let read = self.parse(&text).map_err(|why| self.wrong(&why))?;
        self.named(read)
    }

    fn wrong(&self, why: &str) -> AppError {
        AppError::Usage(format!("{}: {why}; nothing was sent", self.path.display()))
    }

    /// Runs where nothing else does yet: it may block.
    fn text(&self) -> Result<String, AppError> {
        let mut bytes = Vec::new();
        let done = if self.path == Path::new("-") {
            std::io::stdin().take(LONGEST + 1).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(self.path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        };
        done.map_err(|error| self.wrong(&error.to_string()))?;
        if bytes.len() as u64 > LONGEST {
            return Err(self.wrong(&format!("it has more than {} MiB: split it", LONGEST / 1024 / 1024)));
        }
        // Spreadsheets begin their files with a mark.
        if bytes.starts_with(MARK) {
            bytes.drain(..MARK.len());
        }
        String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..good].iter().filter(|b| **b == b'\n').count();
            self.wrong(&format!("line {line} is not UTF-8"))
        })
    }

    fn parse(&self, text: &str) -> Result<Vec<Read1>, String> {
        let extension = self.path.extension().and_then(|extension| extension.to_str());
        let by_name = match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => Some(Format::Csv),
            Some("jsonl" | "ndjson") => Some(Format::Jsonl),
            _ => None,
        };
        match self.format.or(by_name) {
            Some(Format::Csv) => sheet::read(text),
            Some(Format::Jsonl) => Ok(lines(text)),
            Some(Format::Json) => document(text),
            None => {
                let first = text.trim_start().lines().next().unwrap_or_default();
                let whole = document(text);
                // The first line is a document of its own: then each is.
                if whole.is_err() && Fields::parse(first).is_ok() { Ok(lines(text)) } else { whole }
            }
        }
    }

    fn named(&self, read: Vec<Read1>) -> Result<Vec<Row>, AppError> {
        let all = read.len();
        if all == 0 {
            return Err(self.wrong("there is no order in it"));
        }
        if all > MOST {
            return Err(
                self.wrong(&format!("it has {all} orders; at most {MOST} are taken at once: split it"))
            );
        }
        if all > 1 && self.name.is_some() {
            return Err(self.wrong(&format!("--client-order-id names one order, and it has {all}")));
        }
        let mut namer = Namer { batch: self.batch, seen: HashMap::new() };
        let (mut rows, mut wrong, mut lines) = (Vec::with_capacity(all), Vec::new(), HashMap::new());
        for (line, fields) in read {
            let row =
                fields.and_then(|fields| self.row(line, fields, &mut namer)).and_then(|row| {
                    match lines.insert(row.client_order_id.clone(), line) {
                        Some(before) => Err(format!(
                            "client_order_id {} is that of line {before}, too: it is one order",
                            row.client_order_id
                        )),
                        None => Ok(row),
                    }
                });
            match row {
                Ok(row) => rows.push(row),
                Err(why) => wrong.push(format!("line {line}: {why}")),
            }
        }
        match wrong.as_slice() {
            [] => Ok(rows),
            [only] if all == 1 => Err(self.wrong(only)),
            several => {
                let told = several.iter().take(TOLD).map(|why| format!("\n  {why}")).collect::<String>();
                let more = several.len().saturating_sub(TOLD);
                let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
                let count = several.len();
                Err(AppError::Usage(format!(
                    "{}: {count} of {all} orders cannot be sent, so nothing was sent:{told}{more}",
                    self.path.display()
                )))
            }
        }
    }

    fn row(&self, line: u64, mut fields: Fields, namer: &mut Namer<'_>) -> Result<Row, String> {
        let client_order_id = match (fields.is_given("client_order_id"), self.name) {
            (true, Some(_)) => {
                return Err("the order has a client_order_id, and --client-order-id gives another".to_owned());
            }
            (true, None) => fields.text("client_order_id").ok_or("client_order_id is not a string")?,
            (false, given) => {
                // One that is null.
                fields.remove("client_order_id");
                let name = given.map_or_else(|| namer.name(&fields), str::to_owned);
                fields.put("client_order_id", &name);
                name
            }
        };
        let is_id_ours = !fields.is_given("id");
        if is_id_ours {
            fields.remove("id");
            fields.put("id", &SystemClock.uuid());
        }
        let (id, json) = (fields.text("id"), fields.to_string());
        if json.len() > self.max_payload_bytes {
            return Err(format!(
                "the order has {} bytes; workers take at most {} (worker.max_payload_bytes)",
                json.len(),
                self.max_payload_bytes
            ));
        }
        Ok(Row { line, client_order_id, id, is_id_ours, json })
    }
}

/// Gives orders names that depend on what they say and on nothing else, so that the same file never executes twice.
struct Namer<'a> {
    batch: Option<&'a str>,
    /// How many said the same so far.
    seen: HashMap<String, u64>,
}

impl Namer<'_> {
    /// `cli-<hash of what the order says>-<how manieth that says so>`
    fn name(&mut self, fields: &Fields) -> String {
        let mut hash = Sha256::new();
        if let Some(batch) = self.batch {
            // No text of an order contains the character in between.
            hash.update(batch);
            hash.update([0]);
        }
        hash.update(fields.to_string());
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let hash = hex[..HASH].to_owned();
        let nth = self.seen.entry(hash.clone()).or_default();
        *nth += 1;
        format!("cli-{hash}-{nth}")
    }
}

fn object(text: &str) -> Result<Fields, String> {
    Fields::parse(text).map_err(|error| match text.trim_start().as_bytes().first() {
        Some(b'{') => format!("not the JSON of an order: {error}"),
        _ => "not a JSON object".to_owned(),
    })
}

/// One order, or an array of them.
fn document(text: &str) -> Result<Vec<Read1>, String> {
    if !text.trim_start().starts_with('[') {
        return Ok(vec![(1, Ok(object(text)?))]);
    }
    let elements: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| format!("not a JSON array of orders: {error}"))?;
    let (mut line, mut counted, mut read) = (1_u64, 0, Vec::with_capacity(elements.len()));
    for element in elements {
        // The elements are parts of the text.
        let at = element.get().as_ptr().addr() - text.as_ptr().addr();
        line += text.as_bytes()[counted..at].iter().filter(|b| **b == b'\n').count() as u64;
        counted = at;
        read.push((line, object(element.get())));
    }
    Ok(read)
}

/// An order a line; empty lines are none.
fn lines(text: &str) -> Vec<Read1> {
    let numbered = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    numbered.map(|(line, number)| (number, object(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source<'a>(path: &'a str, name: Option<&'a str>, batch: Option<&'a str>) -> Source<'a> {
        Source { path: Path::new(path), format: None, name, batch, max_payload_bytes: 200 }
    }

    fn rows(path: &str, text: &str) -> Result<Vec<Row>, String> {
        let source = source(path, None, None);
        let read = source.parse(text)?;
        source.named(read).map_err(|error| error.to_string())
    }

    fn names(path: &str, text: &str) -> Vec<(u64, String)> {
        rows(path, text).unwrap().into_iter().map(|row| (row.line, row.client_order_id)).collect()
    }

    #[test]
    fn every_form_is_read_and_keeps_its_digits() {
        let order = r#"{"client_order_id":"a","quantity":1.50}"#;
        let other = r#"{"clientOrderId":"b","quantity":"2"}"#;
        for (path, text, lines) in [
            ("o.json", order.to_owned(), vec![1]),
            ("o.json", format!("\n[\n{order},\n\n {other}]"), vec![3, 5]),
            ("o.jsonl", format!("{order}\r\n\n{other}\n"), vec![1, 3]),
            ("-", format!("{order}\n{other}"), vec![1, 2]),
        ] {
            let read = rows(path, &text).unwrap();
            assert_eq!(read.iter().map(|row| row.line).collect::<Vec<_>>(), lines, "{text}");
            assert!(
                read[0].json.starts_with(r#"{"client_order_id":"a","quantity":1.50,"id":""#),
                "{}",
                read[0].json
            );
            assert_eq!(read.last().unwrap().client_order_id, if lines.len() == 1 { "a" } else { "b" });
        }
        let own = rows("-", r#"{"client_order_id":"a","id":"x"}"#).unwrap();
        assert_eq!((own[0].is_id_ours, own[0].id.as_deref()), (false, Some("x")));
    }

    #[test]
    fn names_follow_from_what_the_orders_say() {
        let (one, two) = (r#"{"quantity":"1"}"#, r#"{"quantity":"2","client_order_id":null}"#);
        let first = names("o.jsonl", &format!("{one}\n{two}\n{one}\n"));
        assert_eq!(first.iter().map(|(_, name)| name.len()).collect::<Vec<_>>(), [22, 22, 22]);
        assert_eq!((&first[0].1[..20], &first[0].1[20..]), (&first[2].1[..20], "-1"));
        assert!(first[2].1.ends_with("-2") && first[1].1[..20] != first[0].1[..20]);
        // Other lines before and between change nothing, nor do blanks.
        let again = names("o.jsonl", &format!("\n{two}\n{{ \"quantity\" : \"1\" }}\n{one}\n"));
        assert_eq!((&again[0].1, &again[1].1, &again[2].1), (&first[1].1, &first[0].1, &first[2].1));
        let of = |batch| {
            let source = source("-", None, batch);
            source.named(source.parse(one).unwrap()).unwrap().remove(0).client_order_id
        };
        assert_eq!(of(None), first[0].1);
        assert!(of(Some("monday")) != of(None) && of(Some("monday")) != of(Some("tuesday")));
    }

    #[test]
    fn what_is_no_order_is_told_with_its_line_and_nothing_is_left() {
        for (path, text, told) in [
            (
                "o.jsonl",
                "{}\n[1]\n{\"a\":}\n",
                "2 of 3 orders cannot be sent, so nothing was sent:\n  line 2: not a JSON object\n  line 3: not the JSON of an order",
            ),
            ("o.json", "[{},\n5]", "line 2: not a JSON object"),
            ("o.json", "[{},", "not a JSON array of orders"),
            ("o.json", "", "not a JSON object"),
            ("o.jsonl", "\n\n", "there is no order in it"),
            ("o.jsonl", "{\"client_order_id\":5}", "line 1: client_order_id is not a string"),
            (
                "o.jsonl",
                "{\"client_order_id\":\"a\"}\n{\"clientOrderId\":\"a\"}",
                "line 2: client_order_id a is that of line 1",
            ),
        ] {
            let error = rows(path, text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
        let long = format!("{{\"symbol\":\"{}\"}}", "x".repeat(200));
        assert!(rows("-", &long).unwrap_err().contains("workers take at most 200"));
        let many = "[]\n".repeat(12);
        assert!(rows("o.jsonl", &many).unwrap_err().ends_with("and 2 more"));
    }

    #[test]
    fn a_name_is_for_one_order_that_has_none() {
        let named = |text: &str| {
            let source = source("-", Some("mine"), None);
            let read = source.parse(text).unwrap();
            source.named(read).map(|rows| rows[0].client_order_id.clone()).map_err(|error| error.to_string())
        };
        assert_eq!(named("{}").unwrap(), "mine");
        assert!(named(r#"{"client_order_id":"own"}"#).unwrap_err().contains("gives another"));
        assert!(named("[{},{}]").unwrap_err().contains("names one order"));
    }
}
