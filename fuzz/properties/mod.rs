//! What must hold of every input, whatever bytes a producer sends. Shared by the fuzz targets and by the suite's
//! short form (`tests/it/fuzz.rs`), so that the two cannot drift apart. A property that does not hold panics.

mod amounts;
mod entry;
mod refusal;
mod request;
mod wire;

use allocation_counter::AllocationInfo;
use order_execution::domain::ids::{EntryId, RequestKey};
use order_execution::domain::order::ContentHash;
use order_execution::domain::request::RequestKind;
use order_execution::wire::{Context, Decoded, decode_entry};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub(crate) use entry::check_entry;
pub(crate) use wire::check_wire;

/// What became of an input, so that a run can be seen to have reached both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) kind: RequestKind,
    pub(crate) accepted: bool,
}

type Field<'a> = (&'a [u8], &'a [u8]);

/// As `worker.max_payload_bytes` is by default.
const MAX_PAYLOAD: usize = 65_536;
/// What stands for the fresh UUID of an order that comes without `id`.
const FRESH: Uuid = Uuid::from_u128(0x0190_0000_0000_7abc_8fff_ffff_ffff_0001);
/// An entry may take this much memory for each of its bytes while it is decoded (a JSON value in a tree takes more
/// room than its text), and so much beside them.
const MEMORY_PER_BYTE: usize = 160;
const MEMORY_BESIDE: usize = 24_576;

fn key(ms: u64, seq: u64) -> RequestKey {
    RequestKey { lane: "orders".into(), entry: EntryId { ms, seq } }
}

fn decode(fields: &[Field<'_>], key: &RequestKey, max_payload_bytes: usize) -> Decoded {
    decode_entry(fields, &Context { key, max_payload_bytes, order_id: FRESH })
}

/// Decodes; the memory that it takes at its peak is in proportion to what was sent.
fn decode_measured(fields: &[Field<'_>], key: &RequestKey, max_payload_bytes: usize) -> Decoded {
    let mut decoded = None;
    let AllocationInfo { bytes_max, .. } =
        allocation_counter::measure(|| decoded = Some(decode(fields, key, max_payload_bytes)));
    let sent: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    let bound = MEMORY_BESIDE + MEMORY_PER_BYTE * sent;
    assert!(bytes_max <= bound as u64, "{sent} bytes took {bytes_max} bytes of memory, {bound} are the most");
    decoded.expect("the closure has run")
}

fn request_kind(name: &[u8]) -> Option<(&'static str, RequestKind)> {
    match name {
        b"order" => Some(("order", RequestKind::Submit)),
        b"cancel" => Some(("cancel", RequestKind::Cancel)),
        b"cancel_all" => Some(("cancel_all", RequestKind::CancelAll)),
        b"replace" => Some(("replace", RequestKind::Replace)),
        _ => None,
    }
}

/// The hash by which the journal knows an entry again. Journals outlive versions of the program, so it is spelled
/// out here: SHA-256 over the only request field, else over all fields; lengths as 64 bits, little-endian.
fn expected_hash(fields: &[Field<'_>]) -> ContentHash {
    let requests = fields.iter().filter(|(name, _)| request_kind(name).is_some()).count();
    let mut framed = Vec::with_capacity(256);
    for (name, value) in fields.iter().filter(|(name, _)| requests != 1 || request_kind(name).is_some()) {
        for part in [name, value] {
            framed.extend_from_slice(&(part.len() as u64).to_le_bytes());
            framed.extend_from_slice(part);
        }
    }
    ContentHash(Sha256::digest(&framed).into())
}
