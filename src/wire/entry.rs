//! A stream entry: which request it holds, and what stands beside it.

use uuid::Uuid;

use super::item::{invalid, is_writable, shown};
use super::object::Object;
use super::{command, order, scan};
use crate::domain::ids::{EntryId, OrderId, RequestKey};
use crate::domain::order::ContentHash;
use crate::domain::refusal::Refusal;
use crate::domain::request::{Received, Refused, Request, RequestKind};
use crate::domain::time::Timestamp;

/// What decoding needs to know beside the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Context<'c> {
    /// Names the entry; an order without `client_order_id` gets one derived from it.
    pub key: &'c RequestKey,
    /// Longest request that is read.
    pub max_payload_bytes: usize,
    /// For an order that comes without `id`: a fresh UUID, version 7.
    pub order_id: Uuid,
}

/// All that an entry tells: what [`Received`] is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub request: Request,
    /// SHA-256 over the request field's name and its bytes, so that an entry has the same one whenever
    /// it is read; where the entry has none or several of these fields, over all its fields.
    pub hash: ContentHash,
    /// The entry's `timestamp` field, else the time in its id.
    pub made_at: Timestamp,
    /// Only where it is well formed.
    pub traceparent: Option<String>,
}

impl Decoded {
    #[must_use]
    pub fn received(self, key: RequestKey, deliveries: u32) -> Received {
        let Self { request, hash, made_at, traceparent } = self;
        Received { key, hash, request, made_at, deliveries, traceparent }
    }
}

type Field<'a> = (&'a [u8], &'a [u8]);

/// Reads the fields of an entry. Of several faults the first is told: which request it is, its bytes, its
/// JSON, then its `timestamp`.
#[must_use]
pub fn decode_entry(fields: &[Field<'_>], context: &Context<'_>) -> Decoded {
    let max_bytes = context.max_payload_bytes;
    let hash = content_hash(fields);
    let made_at = made_at(fields, context.key.entry);
    let request = match sole_request(fields) {
        Err(refusal) => refused(RequestKind::Unknown, refusal, None, all_fields(fields, max_bytes)),
        Ok((name, kind, payload)) => {
            let request = scan::readable(name, payload, max_bytes)
                .and_then(|text| request(kind, text, context))
                .and_then(|request| made_at.as_ref().map(|_| request).map_err(Refusal::clone));
            request.unwrap_or_else(|refusal| {
                let text = std::str::from_utf8(payload).ok().filter(|text| text.len() <= max_bytes);
                refused(kind, refusal, text, payload[..payload.len().min(max_bytes)].to_vec())
            })
        }
    };
    Decoded {
        request,
        hash,
        made_at: made_at.unwrap_or_else(|_| entry_time(context.key.entry)),
        traceparent: traceparent(fields),
    }
}

fn request(kind: RequestKind, text: &str, context: &Context<'_>) -> Result<Request, Refusal> {
    match kind {
        RequestKind::Submit => order::read(text, context).map(|spec| Request::Submit(Box::new(spec))),
        RequestKind::Cancel => command::cancel(text).map(Request::Cancel),
        RequestKind::CancelAll => {
            command::cancel_all(text).map(|filter| Request::CancelAll(Box::new(filter)))
        }
        RequestKind::Replace => command::replace(text).map(|replace| Request::Replace(Box::new(replace))),
        RequestKind::Unknown => Err(no_request()),
    }
}

/// The request fields of the contract.
fn request_field(name: &[u8]) -> Option<(&'static str, RequestKind)> {
    match name {
        b"order" => Some(("order", RequestKind::Submit)),
        b"cancel" => Some(("cancel", RequestKind::Cancel)),
        b"cancel_all" => Some(("cancel_all", RequestKind::CancelAll)),
        b"replace" => Some(("replace", RequestKind::Replace)),
        _ => None,
    }
}

fn sole_request<'a>(fields: &[Field<'a>]) -> Result<(&'static str, RequestKind, &'a [u8]), Refusal> {
    let mut found =
        fields.iter().filter_map(|(name, value)| request_field(name).map(|(n, k)| (n, k, *value)));
    let first = found.next().ok_or_else(no_request)?;
    match found.next() {
        None => Ok(first),
        Some((name, _, _)) if name == first.0 => {
            Err(invalid(format!("{name} appears twice in the entry; a request has it once")))
        }
        Some((name, _, _)) => {
            Err(invalid(format!("{} and {name} are in one entry; a request has one of them", first.0)))
        }
    }
}

fn no_request() -> Refusal {
    invalid("the entry has no request: one of the fields order, cancel, cancel_all and replace is needed")
}

fn refused(kind: RequestKind, refusal: Refusal, text: Option<&str>, payload: Vec<u8>) -> Request {
    let ids = text.and_then(Object::leniently);
    let named = |name: &str| ids.as_ref().and_then(|object| object.only_text(name));
    let order_id = match kind {
        RequestKind::Submit => named("id"),
        RequestKind::Cancel => named("order_id"),
        RequestKind::CancelAll | RequestKind::Replace | RequestKind::Unknown => None,
    };
    Request::Refused(Box::new(Refused {
        kind,
        refusal,
        client_order_id: named("client_order_id").and_then(|text| text.parse().ok()),
        order_id: order_id.and_then(|text| Uuid::parse_str(&text).ok()).map(OrderId),
        payload: Some(payload),
    }))
}

/// What is kept of an entry without a request: its fields, a name and a value a line.
fn all_fields(fields: &[Field<'_>], max_bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        for part in [*name, b" ", *value, b"\n"] {
            let room = max_bytes.saturating_sub(out.len());
            out.extend_from_slice(&part[..part.len().min(room)]);
        }
    }
    out
}

fn content_hash(fields: &[Field<'_>]) -> ContentHash {
    let is_request = |field: &&Field<'_>| request_field(field.0).is_some();
    let mut bytes = Vec::with_capacity(512);
    let mut put = |(name, value): &Field<'_>| {
        for part in [name, value] {
            bytes.extend_from_slice(&part.len().to_le_bytes());
            bytes.extend_from_slice(part);
        }
    };
    if fields.iter().filter(is_request).count() == 1 {
        fields.iter().filter(is_request).for_each(&mut put);
    } else {
        fields.iter().for_each(&mut put);
    }
    ContentHash::of(&bytes)
}

fn made_at(fields: &[Field<'_>], entry: EntryId) -> Result<Timestamp, Refusal> {
    let mut given = fields.iter().filter(|(name, _)| *name == b"timestamp");
    let Some((_, value)) = given.next() else { return Ok(entry_time(entry)) };
    if given.next().is_some() {
        return Err(invalid("timestamp appears twice in the entry; a request has it once"));
    }
    let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    parsed.filter(|time| is_writable(*time)).ok_or_else(|| {
        let value = shown(&String::from_utf8_lossy(value));
        invalid(format!("timestamp {value} is not an RFC 3339 time such as 2026-01-31T12:00:00Z"))
    })
}

/// When Redis took the entry, by the milliseconds of its id.
fn entry_time(entry: EntryId) -> Timestamp {
    Timestamp::from_micros(i64::try_from(entry.ms).unwrap_or(i64::MAX).saturating_mul(1000))
}

/// The W3C trace context, where it is well formed: a broken one must not cost the order.
fn traceparent(fields: &[Field<'_>]) -> Option<String> {
    let (_, value) = fields.iter().find(|(name, _)| *name == b"traceparent")?;
    let text = std::str::from_utf8(value).ok()?;
    let parts: Vec<&str> = text.splitn(5, '-').collect();
    let [version, trace, parent, flags, ..] = parts[..] else { return None };
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_zero = |part: &str| part.bytes().all(|b| b == b'0');
    let well_formed = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && !is_zero(trace)
        && hex(parent, 16)
        && !is_zero(parent)
        && hex(flags, 2)
        && (version != "00" || parts.len() == 4);
    well_formed.then(|| text.to_owned())
}
