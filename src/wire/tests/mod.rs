//! What goes in, what comes out, sentence by sentence.

mod encoding;
mod entries;
mod orders;
mod properties;
mod refusals;

use uuid::Uuid;

use super::{Context, Decoded, decode_entry};
use crate::domain::ids::{EntryId, RequestKey};
use crate::domain::order::OrderSpec;
use crate::domain::request::{Refused, Request};

const MAX_PAYLOAD: usize = 65_536;
const FRESH: Uuid = Uuid::from_u128(0x0190_0000_0000_7abc_8fff_ffff_ffff_0001);

fn key() -> RequestKey {
    RequestKey { lane: "orders".into(), entry: EntryId { ms: 1_700_000_000_123, seq: 10 } }
}

pub(super) fn decode(fields: &[(&[u8], &[u8])]) -> Decoded {
    let key = key();
    decode_entry(fields, &Context { key: &key, max_payload_bytes: MAX_PAYLOAD, order_id: FRESH })
}

fn accepted(json: &str) -> OrderSpec {
    match decode(&[(b"order", json.as_bytes())]).request {
        Request::Submit(spec) => *spec,
        other => panic!("{json}\n{other:?}"),
    }
}

fn refused(fields: &[(&[u8], &[u8])]) -> Refused {
    match decode(fields).request {
        Request::Refused(refused) => *refused,
        other => panic!("{other:?}"),
    }
}

/// An order's JSON: the least that an order needs, with `more` members.
fn order_with(more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(r#"{{"client_order_id":"c-1","symbol":"BTCUSDT","side":"Buy","quantity":"1"{comma}{more}}}"#)
}
