//! A whole entry, as Redis answers a read of the stream with it.

use order_execution::adapters::redis::{entries, pairs};
use order_execution::domain::ids::EntryId;
use order_execution::domain::request::{Refused, Request, RequestKind};
use order_execution::domain::time::Timestamp;
use redis::Value;

use super::{
    Field, MAX_PAYLOAD, Seen, decode, decode_measured, expected_hash, key, refusal, request, request_kind,
};

/// Between two records, and between a field's name and its value; neither can stand in JSON.
const RECORD: u8 = 0x1e;
const UNIT: u8 = 0x1f;
/// Begins a value that is not a bulk string, which Redis never sends; its next byte says what it is.
const STRANGE: u8 = 0x1d;

/// An entry, as text: records, of which the first has its id, its deliveries and `max_payload_bytes`, and
/// each other one a field: `1700000000123-10 1 65536␞order␟{…}␞timestamp␟2026-01-31T12:00:00Z`. A head that
/// cannot be read has values by default; a field without `␟` has no value (Redis never sends an odd number).
struct Framed {
    id: EntryId,
    deliveries: u32,
    limit: usize,
    /// What Redis says after the id.
    body: Value,
    /// What must be made of it.
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Framed {
    fn read(data: &[u8]) -> Self {
        let mut records = data.split(|byte| *byte == RECORD);
        let head = records.next().and_then(|head| std::str::from_utf8(head).ok()).unwrap_or_default();
        let mut words = head.split(' ');
        let id = words.next().and_then(|id| id.parse().ok());
        let deliveries = words.next().and_then(|count| count.parse().ok());
        let limit = words.next().and_then(|limit| limit.parse().ok());
        let mut fields = Vec::new();
        let mut body = Vec::new();
        for record in records {
            let mut units = record.splitn(2, |byte| *byte == UNIT);
            let name = units.next().unwrap_or_default().to_vec();
            body.push(Value::BulkString(name.clone()));
            // Without a value it can only be the last one: else names and values would change places.
            let Some(value) = units.next() else { break };
            let (sent, made) = match value.split_first() {
                Some((&STRANGE, kind)) => (strange(kind), Vec::new()),
                _ => (Value::BulkString(value.to_vec()), value.to_vec()),
            };
            body.push(sent);
            fields.push((name, made));
        }
        Self {
            id: id.unwrap_or(EntryId { ms: 1_700_000_000_123, seq: 10 }),
            deliveries: deliveries.unwrap_or(1),
            limit: limit.unwrap_or(MAX_PAYLOAD).min(MAX_PAYLOAD),
            body: if head == "trimmed" { Value::Nil } else { Value::Array(body) },
            fields,
        }
    }
}

fn strange(kind: &[u8]) -> Value {
    match kind.first() {
        Some(b'i') => Value::Int(7),
        Some(b's') => Value::SimpleString("OK".to_owned()),
        Some(b'a') => Value::Array(vec![Value::Nil]),
        _ => Value::Nil,
    }
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

pub(crate) fn check_entry(data: &[u8]) -> Option<Seen> {
    let framed = Framed::read(data);
    let entry = Value::Array(vec![bulk(&framed.id.to_string()), framed.body]);
    let answer = Value::Array(vec![Value::Array(vec![bulk("orders:pending"), Value::Array(vec![entry])])]);
    let found = entries(answer);
    let [(id, body)] = found.as_slice() else { panic!("one entry was sent, {} were read", found.len()) };
    assert_eq!(*id, framed.id);
    let body = body.as_ref()?;

    let fields = pairs(body);
    let expected: Vec<Field<'_>> =
        framed.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    assert_eq!(fields, expected);

    let key = key(id.ms, id.seq);
    let decoded = decode_measured(&fields, &key, framed.limit);
    assert_eq!(decoded.hash, expected_hash(&fields));
    assert_eq!(decode(&fields, &key, framed.limit), decoded);

    let mut requests = fields.iter().filter_map(|(name, value)| Some((request_kind(name)?, *value)));
    let times = Times::of(&fields, *id);
    assert_eq!(decoded.made_at, times.made_at());
    assert_eq!(decoded.traceparent, traceparent(&fields));
    match (requests.next(), requests.next(), &decoded.request) {
        (Some(((name, kind), payload)), None, request) => {
            assert_eq!(request.kind(), kind);
            if payload.len() > framed.limit {
                refusal::check_oversized(request, name, payload, framed.limit);
            } else {
                times.check_told(request);
                request::check(request, name, payload, &key, framed.limit);
            }
            // What stands beside the request changes nothing, and its payload changes the hash.
            let mut more: Vec<Field<'_>> = vec![(b"note", b"\xff\0")];
            more.extend_from_slice(&fields);
            assert_eq!(decode(&more, &key, framed.limit), decoded);
        }
        (_, _, Request::Refused(refused)) => check_no_request(refused, &fields, framed.limit),
        (_, _, request) => panic!("there is not exactly one request: {request:?}"),
    }

    let accepted = !matches!(decoded.request, Request::Refused(_));
    let (kind, hash, made_at) = (decoded.request.kind(), decoded.hash, decoded.made_at);
    let received = decoded.received(key.clone(), framed.deliveries);
    assert_eq!((received.key, received.hash, received.made_at), (key, hash, made_at));
    assert_eq!(received.deliveries, framed.deliveries);
    Some(Seen { kind, accepted })
}

/// An entry with no request, or with several: all of it is kept, up to the limit.
fn check_no_request(refused: &Refused, fields: &[Field<'_>], limit: usize) {
    refusal::check_sentence(&refused.refusal);
    assert_eq!(refused.kind, RequestKind::Unknown);
    assert_eq!((&refused.client_order_id, refused.order_id), (&None, None));
    let mut all: Vec<u8> = Vec::new();
    for (name, value) in fields {
        all.extend_from_slice(&[*name, b" ", *value, b"\n"].concat());
    }
    all.truncate(limit);
    assert_eq!(refused.payload.as_ref(), Some(&all));
    let reason = &refused.refusal.reason;
    let known = ["the entry has no request", "order ", "cancel ", "cancel_all ", "replace "];
    assert!(known.iter().any(|start| reason.starts_with(start)), "{reason}");
}

/// The entry's `timestamp` fields.
struct Times {
    given: usize,
    only: Option<Timestamp>,
    of_id: Timestamp,
}

impl Times {
    fn of(fields: &[Field<'_>], id: EntryId) -> Self {
        let given: Vec<&[u8]> =
            fields.iter().filter(|(name, _)| *name == b"timestamp").map(|(_, value)| *value).collect();
        let only = match given.as_slice() {
            [one] => std::str::from_utf8(one).ok().and_then(|text| text.parse::<Timestamp>().ok()),
            _ => None,
        };
        // What RFC 3339 cannot spell in UTC could not be written again; the contract begins with the year 1.
        let only = only
            .filter(|time| time.to_string().parse() == Ok(*time) && !time.to_string().starts_with("0000"));
        let ms = i64::try_from(id.ms).unwrap_or(i64::MAX);
        Self { given: given.len(), only, of_id: Timestamp::from_micros(ms.saturating_mul(1000)) }
    }

    fn made_at(&self) -> Timestamp {
        self.only.unwrap_or(self.of_id)
    }

    /// A time that cannot be read costs the request, where nothing worse does.
    fn check_told(&self, request: &Request) {
        if self.given > 0 && self.only.is_none() {
            assert!(matches!(request, Request::Refused(_)), "read without its time: {request:?}");
        }
    }
}

/// The first one, where it is what the W3C's recommendation says.
fn traceparent(fields: &[Field<'_>]) -> Option<String> {
    let (_, value) = fields.iter().find(|(name, _)| *name == b"traceparent")?;
    let text = std::str::from_utf8(value).ok()?;
    let bytes = text.as_bytes();
    let is_hex = |from: usize, to: usize| {
        let part = bytes.get(from..to)?;
        part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then_some(part)
    };
    let is_dash = |at: usize| bytes.get(at) == Some(&b'-');
    let version = is_hex(0, 2)?;
    let some = |part: &[u8]| part.iter().any(|b| *b != b'0');
    let well_formed = version != b"ff"
        && is_dash(2)
        && some(is_hex(3, 35)?)
        && is_dash(35)
        && some(is_hex(36, 52)?)
        && is_dash(52)
        && is_hex(53, 55).is_some()
        && (bytes.len() == 55 || version != b"00" && is_dash(55));
    well_formed.then(|| text.to_owned())
}
