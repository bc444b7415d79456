//! What is looked at before JSON is parsed, in one pass over the bytes, and where in it a byte stands.

use serde_json::error::Category;

use super::item::{self, invalid};
use crate::domain::refusal::Refusal;

/// Objects and arrays inside each other, the outermost included.
pub(super) const MAX_DEPTH: usize = 32;

/// The text of the request field `name`, if it is short enough, UTF-8, without NUL and not nested too deep.
pub(super) fn readable<'a>(name: &str, bytes: &'a [u8], max_bytes: usize) -> Result<&'a str, Refusal> {
    if bytes.len() > max_bytes {
        return Err(invalid(format!("{name} has {} bytes; at most {max_bytes} are taken", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let byte = bytes.get(at).copied().unwrap_or_default();
        invalid(format!("{} is not UTF-8: byte 0x{byte:02x} at offset {at}", place(name, bytes, at)))
    })?;
    match first_problem(bytes) {
        None => Ok(text),
        Some(Problem::Nul(at)) => Err(invalid(format!(
            "{} has a NUL character at offset {at}; none is taken",
            place(name, bytes, at)
        ))),
        Some(Problem::Deep(at)) => Err(invalid(format!(
            "{} is nested deeper than {MAX_DEPTH} levels; at most {MAX_DEPTH} are taken",
            place(name, bytes, at)
        ))),
    }
}

/// The sentence for what `serde_json` found wrong with `text`.
pub(super) fn syntax(name: &str, text: &str, error: &serde_json::Error) -> Refusal {
    let line_start: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = (line_start + error.column().saturating_sub(1)).min(text.len());
    let place = place(name, text.as_bytes(), at);
    if error.classify() == Category::Eof {
        return invalid(format!("{place} is not complete JSON: {error}"));
    }
    let near = (0..=at).rev().find_map(|from| text.get(from..)).unwrap_or_default();
    invalid(format!("{place} is not valid JSON: {error}, near {}", item::shown(near)))
}

enum Problem {
    Nul(usize),
    Deep(usize),
}

fn first_problem(bytes: &[u8]) -> Option<Problem> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == 0 {
            return Some(Problem::Nul(at));
        }
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' if depth == MAX_DEPTH => return Some(Problem::Deep(at)),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

enum Frame<'a> {
    Object(Option<&'a [u8]>),
    Array(usize),
}

/// The path of the field in which the byte at `offset` stands, as far as can be told of broken JSON;
/// `name` where it stands in none.
fn place(name: &str, bytes: &[u8], offset: usize) -> String {
    let mut frames: Vec<Frame<'_>> = Vec::new();
    let mut at = 0;
    while at < offset.min(bytes.len()) {
        match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at);
                if let Some(Frame::Object(key @ None)) = frames.last_mut() {
                    *key = Some(&bytes[at + 1..end]);
                }
                at = end;
            }
            b'{' => frames.push(Frame::Object(None)),
            b'[' => frames.push(Frame::Array(0)),
            b'}' | b']' => {
                frames.pop();
            }
            b',' => match frames.last_mut() {
                Some(Frame::Object(key)) => *key = None,
                Some(Frame::Array(index)) => *index += 1,
                None => {}
            },
            _ => {}
        }
        at += 1;
    }
    let path: Vec<String> = frames
        .iter()
        .take(MAX_DEPTH)
        .map_while(|frame| match frame {
            Frame::Object(key) => key.map(|key| item::key_shown(&String::from_utf8_lossy(key))),
            Frame::Array(index) => Some(index.to_string()),
        })
        .collect();
    match frames.first() {
        _ if path.is_empty() => name.to_owned(),
        Some(Frame::Array(_)) => format!("{name}.{}", path.join(".")),
        _ => path.join("."),
    }
}

/// Where the string that begins at `start` has its closing quote, or the end of `bytes`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}
