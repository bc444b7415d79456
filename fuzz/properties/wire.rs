//! The bytes of one request field.

use order_execution::domain::request::Request;
use order_execution::wire::{Context, decode_order};

use super::{FRESH, MAX_PAYLOAD, Seen, decode, decode_measured, expected_hash, key, refusal, request};

/// The first byte says which request it is (`c`ancel, cancel_`a`ll, `r`eplace; every other one: an order), what
/// follows is its payload.
pub(crate) fn check_wire(data: &[u8]) -> Option<Seen> {
    let (first, payload) = data.split_first()?;
    let name = match first {
        b'c' => "cancel",
        b'a' => "cancel_all",
        b'r' => "replace",
        _ => "order",
    };
    let key = key(1_700_000_000_123, 10);
    let fields = [(name.as_bytes(), payload)];
    let decoded = decode_measured(&fields, &key, MAX_PAYLOAD);
    assert_eq!(decoded.hash, expected_hash(&fields));

    // Read again, it is the same; for an order by the other way in.
    if name == "order" {
        let context = Context { key: &key, max_payload_bytes: MAX_PAYLOAD, order_id: FRESH };
        match (decode_order(payload, &context), &decoded.request) {
            (Ok(again), Request::Submit(spec)) => assert_eq!(again, **spec),
            (Err(again), Request::Refused(refused)) => assert_eq!(again, refused.refusal),
            (again, request) => panic!("decode_order says {again:?}, decode_entry {request:?}"),
        }
    } else {
        assert_eq!(decode(&fields, &key, MAX_PAYLOAD), decoded);
    }

    request::check(&decoded.request, name, payload, &key, MAX_PAYLOAD);
    if let Some(limit) = payload.len().checked_sub(1) {
        let oversized = decode_measured(&fields, &key, limit);
        assert_eq!(oversized.hash, decoded.hash, "the limit is no part of the content");
        refusal::check_oversized(&oversized.request, name, payload, limit);
    }
    let accepted = !matches!(decoded.request, Request::Refused(_));
    Some(Seen { kind: decoded.request.kind(), accepted })
}
