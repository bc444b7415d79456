use super::{FRESH, decode, key, order_with, refused};
use crate::domain::ids::{EntryId, OrderId};
use crate::domain::order_type::Side;
use crate::domain::refusal::Code;
use crate::domain::request::{CancelFilter, OrderRef, Request, RequestKind};
use crate::wire::{Context, decode_entry, decode_order};

const ORDER: &[u8] = br#"{"symbol":"X","side":"Buy","quantity":"1","order_type":"Market"}"#;
const CANCEL: &[u8] = br#"{"client_order_id":"c-1"}"#;

fn check_refused(fields: &[(&[u8], &[u8])], kind: RequestKind, code: Code, parts: &[&str]) {
    let refused = refused(fields);
    assert_eq!((refused.kind, refused.refusal.code), (kind, code), "{}", refused.refusal);
    for part in parts {
        assert!(refused.refusal.reason.contains(part), "{}\nhas no {part}", refused.refusal);
    }
}

#[test]
fn an_entry_has_exactly_one_request() {
    let invalid = |fields: &[(&[u8], &[u8])], parts: &[&str]| {
        check_refused(fields, RequestKind::Unknown, Code::InvalidPayload, parts);
    };
    invalid(&[], &["order, cancel, cancel_all and replace"]);
    invalid(&[(b"payload", ORDER)], &["no request"]);
    invalid(&[(b"Order", ORDER)], &["no request"]);
    invalid(&[(b"order", ORDER), (b"cancel", CANCEL)], &["order and cancel"]);
    invalid(&[(b"order", ORDER), (b"x", b"y"), (b"order", ORDER)], &["order appears twice"]);
    assert_eq!(refused(&[(b"a", b"b"), (b"c", b"\xff")]).payload.unwrap(), b"a b\nc \xff\n");
}

#[test]
fn other_fields_are_ignored() {
    let plain = decode(&[(b"order", ORDER)]);
    let more = decode(&[(b"note", b"\xff\0"), (b"order", ORDER), (b"signature", b"00"), (b"producer", b"p")]);
    assert_eq!(plain, more);
    assert_eq!(plain.request.kind(), RequestKind::Submit);
}

#[test]
fn the_hash_is_of_the_request() {
    let hash = |fields: &[(&[u8], &[u8])]| decode(fields).hash;
    assert_eq!(hash(&[(b"order", ORDER)]), hash(&[(b"order", ORDER)]));
    assert_ne!(hash(&[(b"order", ORDER)]), hash(&[(b"cancel", ORDER)]));
    assert_ne!(hash(&[(b"order", ORDER)]), hash(&[(b"order", CANCEL)]));
    assert_ne!(hash(&[(b"a", b"b")]), hash(&[(b"ab", b"")]));
    assert_ne!(hash(&[(b"order", ORDER), (b"order", CANCEL)]), hash(&[(b"order", ORDER), (b"order", ORDER)]));
}

#[test]
fn when_it_was_made() {
    let made = |fields: &[(&[u8], &[u8])]| decode(fields).made_at.to_string();
    assert_eq!(made(&[(b"order", ORDER)]), "2023-11-14T22:13:20.123000Z");
    assert_eq!(
        made(&[(b"order", ORDER), (b"timestamp", b"2026-01-31T12:00:00+01:00")]),
        "2026-01-31T11:00:00.000000Z"
    );
    for broken in [&b"1700000000"[..], b"", b"\xff", b"9999-12-31T23:59:59-23:59"] {
        let fields: [(&[u8], &[u8]); 2] = [(b"order", ORDER), (b"timestamp", broken)];
        check_refused(&fields, RequestKind::Submit, Code::InvalidPayload, &["timestamp", "RFC 3339"]);
        assert_eq!(made(&fields), "2023-11-14T22:13:20.123000Z");
    }
    let twice: [(&[u8], &[u8]); 3] =
        [(b"timestamp", b"2026-01-31T12:00:00Z"), (b"order", ORDER), (b"timestamp", b"2026-01-31T12:00:00Z")];
    check_refused(&twice, RequestKind::Submit, Code::InvalidPayload, &["timestamp appears twice"]);
}

#[test]
fn a_traceparent_is_kept_where_it_is_well_formed() {
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let kept = |text: &str| decode(&[(b"order", ORDER), (b"traceparent", text.as_bytes())]).traceparent;
    assert_eq!(kept(good).as_deref(), Some(good));
    assert!(kept(&format!("cc{}-later", &good[2..])).is_some());
    for broken in [
        "".to_owned(),
        "00".to_owned(),
        good.to_uppercase(),
        format!("{good}-x"),
        format!("ff{}", &good[2..]),
        good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
        good.replace("b7ad6b7169203331", &"0".repeat(16)),
        good[..54].to_owned(),
    ] {
        assert_eq!(kept(&broken), None, "{broken}");
    }
}

#[test]
fn a_cancel_names_one_order() {
    let cancel = |json: &str| decode(&[(b"cancel", json.as_bytes())]).request;
    let by_client = Request::Cancel(OrderRef::Client("c-1".parse().unwrap()));
    assert_eq!(cancel(r#"{"client_order_id":"c-1"}"#), by_client);
    assert_eq!(cancel(r#"{"clientOrderId":"c-1","order_id":null}"#), by_client);
    assert_eq!(
        cancel(&format!(r#"{{"order_id":"{FRESH}"}}"#)),
        Request::Cancel(OrderRef::Order(OrderId(FRESH)))
    );
    let both = format!(r#"{{"client_order_id":"c-1","order_id":"{FRESH}"}}"#);
    for (json, part) in [
        ("{}", "client_order_id is missing"),
        (both.as_str(), "one of them"),
        (r#"{"client_order_id":""}"#, "1 to 64 characters"),
        (r#"{"order_id":"c-1"}"#, "order_id `\"c-1\"` must be a UUID"),
        (r#"{"client_order_id":"c-1","why":"x"}"#, "why is not a field of a cancel"),
        (r#""c-1""#, "cancel `\"c-1\"` must be a JSON object"),
        ("{", "cancel is not complete JSON"),
    ] {
        check_refused(&[(b"cancel", json.as_bytes())], RequestKind::Cancel, Code::InvalidPayload, &[part]);
    }
}

#[test]
fn cancel_all_and_replace_are_read() {
    let filter = |json: &str| match decode(&[(b"cancel_all", json.as_bytes())]).request {
        Request::CancelAll(filter) => *filter,
        other => panic!("{other:?}"),
    };
    assert_eq!(filter("{}"), CancelFilter::default());
    let all = filter(r#"{"symbol":"X","side":"SELL","broker":"b","strategy_id":"s"}"#);
    assert_eq!((all.symbol.unwrap().as_str(), all.side), ("X", Some(Side::Sell)));
    assert_eq!((all.broker.unwrap().as_str(), all.strategy_id.as_deref()), ("b", Some("s")));
    let terms = |json: &str| match decode(&[(b"replace", json.as_bytes())]).request {
        Request::Replace(replace) => {
            assert_eq!(replace.client_order_id.as_str(), "c-1");
            let text = |value: Option<String>| value.unwrap_or_default();
            let terms = replace.terms;
            [
                text(terms.quantity.map(|q| q.to_string())),
                text(terms.price.map(|p| p.to_string())),
                text(terms.stop_price.map(|p| p.to_string())),
            ]
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(terms(r#"{"client_order_id":"c-1","quantity":2}"#), ["2", "", ""]);
    assert_eq!(terms(r#"{"clientOrderId":"c-1","stopPrice":2,"price":"1"}"#), ["", "1", "2"]);
    for (field, json, code, part) in [
        ("cancel_all", r#"{"symbol":""}"#, Code::InvalidPayload, "symbol"),
        ("cancel_all", r#"{"side":"x"}"#, Code::InvalidPayload, "side"),
        ("cancel_all", r#"{"account":"x"}"#, Code::InvalidPayload, "account is not a field of a cancel_all"),
        ("replace", r#"{"client_order_id":"c-1"}"#, Code::InvalidPayload, "changes nothing"),
        ("replace", r#"{"client_order_id":"c-1","quantity":null}"#, Code::InvalidPayload, "changes nothing"),
        ("replace", r#"{"quantity":1}"#, Code::InvalidPayload, "client_order_id is missing"),
        ("replace", r#"{"client_order_id":"c-1","quantity":0}"#, Code::ValidationFailed, "quantity `0`"),
        (
            "replace",
            r#"{"client_order_id":"c-1","side":"Buy"}"#,
            Code::InvalidPayload,
            "side is not a field of a replace",
        ),
    ] {
        let kind = if field == "replace" { RequestKind::Replace } else { RequestKind::CancelAll };
        check_refused(&[(field.as_bytes(), json.as_bytes())], kind, code, &[part]);
    }
}

#[test]
fn a_refusal_carries_the_ids_that_could_be_read() {
    let ids = |field: &str, json: &str| {
        let refused = refused(&[(field.as_bytes(), json.as_bytes())]);
        (refused.client_order_id.map(|id| id.to_string()), refused.order_id.map(|OrderId(id)| id))
    };
    let c1 = || Some("c-1".to_owned());
    let order = |more: &str| order_with(&format!(r#""id":"{FRESH}",{more}"#));
    assert_eq!(ids("order", &order(r#""type":"NONE""#)), (c1(), Some(FRESH)));
    assert_eq!(ids("order", &order(r#""side":"Buy""#)), (c1(), Some(FRESH)));
    assert_eq!(ids("order", &order(r#""clientOrderId":"c-2""#)), (None, Some(FRESH)));
    assert_eq!(ids("order", r#"{"client_order_id":"a b"}"#), (None, None));
    assert_eq!(ids("order", r#"{"client_order_id":"c-1""#), (None, None));
    assert_eq!(
        ids("cancel", &format!(r#"{{"client_order_id":"c-1","order_id":"{FRESH}"}}"#)),
        (c1(), Some(FRESH))
    );
    assert_eq!(ids("replace", r#"{"client_order_id":"c-1"}"#), (c1(), None));
}

#[test]
fn an_id_is_derived_from_the_entry_where_it_fits() {
    let derive = |ms: u64, seq: u64, symbol: &str| {
        let key = crate::domain::ids::RequestKey { entry: EntryId { ms, seq }, ..key() };
        let json = format!(r#"{{"symbol":"{symbol}","side":"SELL","quantity":"1","type":"MARKET"}}"#);
        let context = Context { key: &key, max_payload_bytes: 1000, order_id: FRESH };
        let by_itself = decode_order(json.as_bytes(), &context);
        match decode_entry(&[(b"order", json.as_bytes())], &context).request {
            Request::Submit(spec) => {
                assert_eq!(by_itself.unwrap(), *spec);
                Ok(spec.client_order_id.to_string())
            }
            other => Err(other),
        }
    };
    let longest = "S".repeat(32);
    let id = derive(1_700_000_000_123, 0xffff_ffff, &longest).unwrap();
    assert_eq!(id, format!("RT_{longest}_Sell_1700000000123_ffffffff"));
    assert_eq!(id.len(), 63);
    assert!(derive(u64::MAX, u64::MAX, &longest).is_err());
    assert!(derive(u64::MAX, u64::MAX, "X").is_ok());
}
