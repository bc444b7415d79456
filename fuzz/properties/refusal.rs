//! What a refused request tells.

use order_execution::domain::refusal::{Code, Refusal};
use order_execution::domain::request::{Refused, Request};

/// Fields that a sentence may begin with though the request does not have them: what is missing.
const MISSED: &[&str] = &[
    "client_order_id",
    "symbol",
    "side",
    "quantity",
    "order_type",
    "price",
    "stop_price",
    "distance",
    "distance_type",
    "expire_time",
];

/// The refusal of the request field `name`, whose value is `payload`.
pub(super) fn check(refused: &Refused, name: &str, payload: &[u8], limit: usize) {
    check_sentence(&refused.refusal);
    let reason = &refused.refusal.reason;
    let field = name_in(reason);
    let is_known = field == name || field == "timestamp" || MISSED.contains(&field);
    assert!(is_known || is_written(field, payload), "the sentence names no field: {reason}");
    assert_eq!(refused.payload.as_deref(), Some(&payload[..payload.len().min(limit)]), "{reason}");
    if let Some(id) = &refused.client_order_id {
        assert!(is_written(id.as_str(), payload), "{id} is not in the request: {reason}");
    }
}

/// A sentence that a person can act on: short, printable, with one of the codes of what cannot be read.
pub(super) fn check_sentence(refusal: &Refusal) {
    let Refusal { code, reason } = refusal;
    assert!(matches!(code, Code::InvalidPayload | Code::ValidationFailed), "{code}");
    assert!(!reason.is_empty() && reason.chars().count() < 500, "{reason}");
    assert!(!reason.chars().any(char::is_control), "{reason:?}");
    assert!(
        !reason.starts_with(char::is_whitespace),
        "the sentence begins with a name that is not seen: {reason:?}"
    );
}

/// What is longer than the limit is refused for its length alone, whatever it says: it is not looked into.
pub(super) fn check_oversized(request: &Request, name: &str, payload: &[u8], limit: usize) {
    let Request::Refused(refused) = request else { panic!("read though too long: {request:?}") };
    let wanted = format!("{name} has {} bytes; at most {limit} are taken", payload.len());
    assert_eq!((refused.refusal.code, &refused.refusal.reason), (Code::InvalidPayload, &wanted));
    assert_eq!(refused.payload.as_deref(), Some(&payload[..limit]));
    assert_eq!((&refused.client_order_id, refused.order_id), (&None, None));
}

/// The first name of the path with which a sentence begins, as far as it stands there without escapes. One that
/// would not be seen (an empty one, say) stands in quotes.
fn name_in(reason: &str) -> &str {
    match reason.strip_prefix('`') {
        Some(quoted) => quoted.split(['`', '…', '\\', '\u{fffd}']).next().unwrap_or_default(),
        // Control characters are shown as escapes.
        None if reason.starts_with('\\') => "",
        None => {
            let first = reason.chars().next().map_or(0, char::len_utf8);
            let end = reason[first..].find(['.', ' ', '…', '\\', '\u{fffd}']);
            &reason[..end.map_or(reason.len(), |end| first + end)]
        }
    }
}

/// Whether `text` stands in `payload`, which may spell it with escapes.
fn is_written(text: &str, payload: &[u8]) -> bool {
    payload.contains(&b'\\') || String::from_utf8_lossy(payload).contains(text)
}
