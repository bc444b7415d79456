//! What Redis answers a read of the stream with, taken apart as far as the fields of each entry. Apart from all else, so
//! that it can be fuzzed.

use redis::Value;

use crate::domain::ids::EntryId;

/// The entries of a read of one stream: id, and fields and values in turn; `None` where the body is gone.
#[must_use]
pub fn entries(answer: Value) -> Vec<(EntryId, Option<Vec<Value>>)> {
    let Value::Array(streams) = answer else { return Vec::new() };
    let mut found = Vec::new();
    for stream in streams {
        let Value::Array(mut named) = stream else { continue };
        let Some(Value::Array(list)) = named.pop() else { continue };
        found.extend(list.into_iter().filter_map(entry));
    }
    found
}

fn entry(value: Value) -> Option<(EntryId, Option<Vec<Value>>)> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let id = std::str::from_utf8(bytes(&parts.next()?)).ok()?.parse().ok()?;
    match parts.next() {
        Some(Value::Array(fields)) => Some((id, Some(fields))),
        _ => Some((id, None)),
    }
}

/// Each field of an entry with its value.
#[must_use]
pub fn pairs(fields: &[Value]) -> Vec<(&[u8], &[u8])> {
    fields.chunks_exact(2).map(|pair| (bytes(&pair[0]), bytes(&pair[1]))).collect()
}

fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::BulkString(bytes) => bytes,
        _ => &[],
    }
}
