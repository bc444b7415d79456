use super::{MAX_PAYLOAD, order_with, refused};
use crate::domain::refusal::Code;
use crate::wire::schema::tests::check_form;

/// An order that is refused with `code` and a sentence that has every one of `parts`.
fn check_order(json: &str, code: Code, parts: &[&str]) {
    let refused = refused(&[(b"order", json.as_bytes())]);
    let reason = &refused.refusal.reason;
    assert_eq!(refused.refusal.code, code, "{json}\n{reason}");
    for part in parts {
        assert!(reason.contains(part), "{json}\n{reason}\nhas no {part}");
    }
    assert!(reason.chars().count() < 500 && !reason.chars().any(char::is_control), "{reason}");
    assert_eq!(refused.payload.as_deref(), Some(json.as_bytes()));
    check_form(json, reason);
}

/// A market order with `more` members, refused as `INVALID_PAYLOAD`.
fn check(more: &str, parts: &[&str]) {
    check_order(&order_with(&format!(r#""order_type":"Market",{more}"#)), Code::InvalidPayload, parts);
}

/// An order whose type (and what stands beside it) is `typed`.
fn check_type(typed: &str, code: Code, parts: &[&str]) {
    check_order(&order_with(typed), code, parts);
}

#[test]
fn unknown_fields_are_named() {
    check(r#""quantitty":"1""#, &["quantitty", "not a field of an order"]);
    check(r#""si_de":"Buy""#, &["si_de"]);
    check(r#""":1"#, &["`` is not a field of an order"]);
    check(r#"" side":1"#, &["` side` is not a field of an order"]);
    check(r#""metadata":{"":1,"":2}"#, &["metadata.`` appears twice"]);
    check(r#""execution_instructions":{"postonly":true,"hidden":1}"#, &["execution_instructions.hidden"]);
    check(r#""conditions":[{"condition_type":"Price","when":1}]"#, &["conditions.0.when"]);
    check(r#""time_in_force":{"GTD":{"expires_at":"2030-01-01T00:00:00Z","x":1}}"#, &["time_in_force.GTD.x"]);
    check_type(
        r#""order_type":{"Limit":{"price":"1","stop":2}}"#,
        Code::InvalidPayload,
        &["order_type.Limit.stop"],
    );
    check_type(
        r#""order_type":{"Limmit":{"price":"1"}}"#,
        Code::InvalidPayload,
        &["order_type.Limmit", "none of Market, Limit"],
    );
    check_type(
        r#""type":"LIMMIT","price":1"#,
        Code::InvalidPayload,
        &["type `\"LIMMIT\"`", "none of MARKET, LIMIT"],
    );
}

#[test]
fn missing_fields_are_named() {
    for name in ["symbol", "side", "quantity", "order_type"] {
        let members =
            [("symbol", "\"X\""), ("side", "\"Buy\""), ("quantity", "1"), ("order_type", "\"Market\"")];
        let kept: Vec<String> =
            members.iter().filter(|(n, _)| *n != name).map(|(n, v)| format!(r#""{n}":{v}"#)).collect();
        check_order(&format!("{{{}}}", kept.join(",")), Code::InvalidPayload, &[name, "is missing"]);
        check_order(
            &format!(r#"{{{},"{name}":null}}"#, kept.join(",")),
            Code::InvalidPayload,
            &[name, "is missing"],
        );
    }
    check(
        r#""conditions":[{"condition_type":"Price","comparison":"Less"}]"#,
        &["conditions.0.trigger_value"],
    );
}

#[test]
fn wrong_types_are_named_with_the_value() {
    for (more, parts) in [
        (r#""strategy_id":7"#, ["strategy_id `7`", "a string"]),
        (r#""metadata":[1]"#, ["metadata `[1]`", "a JSON object"]),
        (r#""metadata":"x""#, ["metadata", "a JSON object"]),
        (r#""position_size_check":"yes""#, ["position_size_check `\"yes\"`", "true or false"]),
        (r#""post_only":1"#, ["post_only `1`", "true or false"]),
        (r#""linked_orders":"a""#, ["linked_orders", "an array"]),
        (r#""linked_orders":["a",5]"#, ["linked_orders.1 `5`", "a string"]),
        (r#""conditions":{}"#, ["conditions", "an array"]),
        (r#""execution_instructions":true"#, ["execution_instructions", "a JSON object"]),
        (r#""max_slippage":true"#, ["max_slippage `true`", "a decimal number"]),
        (r#""time_in_force":5"#, ["time_in_force `5`", "a string"]),
        (r#""time_in_force":"GTX""#, ["time_in_force `\"GTX\"`", "none of GTC, GTD"]),
        (r#""broker":"no spaces""#, ["broker `\"no spaces\"`", "1 to 32 characters"]),
        (r#""id":"17""#, ["id `\"17\"`", "UUID"]),
        (r#""id":"00000000-0000-0000-0000-000000000000""#, ["id", "UUID"]),
        (r#""created_at":"yesterday""#, ["created_at", "RFC 3339"]),
    ] {
        check(more, &parts);
    }
    let names = r#"{"client_order_id":"a b","symbol":"X","side":"Buy","quantity":1,"type":"MARKET"}"#;
    check_order(names, Code::InvalidPayload, &["client_order_id `\"a b\"`", "1 to 64 characters"]);
    let side = r#"{"symbol":"X","side":"HOLD","quantity":1,"type":"MARKET"}"#;
    check_order(side, Code::InvalidPayload, &["side `\"HOLD\"`", "Buy, Sell"]);
    for json in ["[]", "\"x\"", "5", "null", "true", " 5 "] {
        check_order(json, Code::InvalidPayload, &["order", "must be a JSON object"]);
    }
}

#[test]
fn amounts_are_exact_or_refused() {
    let order =
        |quantity: &str| format!(r#"{{"symbol":"X","side":"Buy","type":"MARKET","quantity":{quantity}}}"#);
    for (quantity, code, what) in [
        ("0", Code::ValidationFailed, "greater than 0"),
        ("\"0.000\"", Code::ValidationFailed, "greater than 0"),
        ("-1", Code::ValidationFailed, "greater than 0"),
        ("\"NaN\"", Code::InvalidPayload, "not a decimal number"),
        ("\"1,5\"", Code::InvalidPayload, "not a decimal number"),
        ("\"\"", Code::InvalidPayload, "not a decimal number"),
        ("NaN", Code::InvalidPayload, "not valid JSON"),
        ("-Infinity", Code::InvalidPayload, "not valid JSON"),
        ("01", Code::InvalidPayload, "not valid JSON"),
        ("1e400", Code::InvalidPayload, "exponent"),
        ("1e-29", Code::InvalidPayload, "exponent"),
        ("1e99999999999999999999", Code::InvalidPayload, "exponent"),
        ("0.12345678901234567890123456789", Code::InvalidPayload, "28 significant digits"),
        ("[]", Code::InvalidPayload, "a decimal number"),
    ] {
        check_order(&order(quantity), code, &["quantity", what]);
    }
    check_type(r#""type":"LIMIT","price":-1"#, Code::ValidationFailed, &["price `-1`", "greater than 0"]);
    check_type(
        r#""order_type":{"Limit":{"price":"0"}}"#,
        Code::ValidationFailed,
        &["order_type.Limit.price `\"0\"`"],
    );
    check_type(
        r#""type":"MARKET","max_slippage":-1"#,
        Code::ValidationFailed,
        &["max_slippage `-1`", "negative"],
    );
    check_type(
        r#""type":"MARKET","displaySize":-1"#,
        Code::ValidationFailed,
        &["displaySize `-1`", "negative"],
    );
}

#[test]
fn prices_are_those_of_the_type() {
    for (typed, parts) in [
        (r#""type":"MARKET","price":1"#, ["price `1`", "MARKET"]),
        (r#""type":"LIMIT","price":1,"stopPrice":2"#, ["stopPrice `2`", "LIMIT"]),
        (r#""type":"STOP","price":1,"stopPrice":2"#, ["price `1`", "STOP"]),
        (r#""type":"STOP_LOSS","stopPrice":2,"distance":1"#, ["distance `1`", "STOP_LOSS"]),
        (r#""type":"TAKE_PROFIT","stopPrice":2,"price":1"#, ["price `1`", "TAKE_PROFIT"]),
        (r#""type":"LIMIT""#, ["price is missing", "LIMIT"]),
        (r#""type":"LIMIT_MAKER""#, ["price is missing", "LIMIT_MAKER"]),
        (r#""type":"STOP","trigger_price":1"#, ["stop_price is missing", "STOP"]),
        (r#""type":"STOP_LIMIT","stop_price":1"#, ["price is missing", "STOP_LIMIT"]),
        (r#""type":"TAKE_PROFIT_LIMIT","price":1"#, ["stop_price is missing", "TAKE_PROFIT_LIMIT"]),
        (r#""type":"TRAILING_STOP","distance":1"#, ["distance_type is missing", "TRAILING_STOP"]),
        (r#""type":"STOP_LIMIT","stop_price":1,"price":2,"limit_price":3"#, ["price", "limit_price"]),
        (r#""type":"TAKE_PROFIT","stopPrice":1,"triggerPrice":1"#, ["stopPrice", "triggerPrice"]),
        (r#""type":"ICEBERG""#, ["type `\"ICEBERG\"`", "an object"]),
        (r#""order_type":{"Limit":{}}"#, ["order_type.Limit.price is missing", ""]),
        (
            r#""order_type":{"StopLimit":{"stop_price":1,"price":2}}"#,
            ["order_type.StopLimit.limit_price", "missing"],
        ),
        (
            r#""order_type":{"Limit":{"price":1,"limit_price":1}}"#,
            ["order_type.Limit.limit_price `1`", "not taken"],
        ),
        (r#""order_type":{"Limit":{"price":1}},"price":1"#, ["price `1`", "order_type"]),
        (r#""order_type":{"Limit":{"price":1},"Market":null}"#, ["order_type", "exactly one"]),
        (r#""order_type":{}"#, ["order_type `{}`", "exactly one"]),
        (r#""order_type":"Market","type":"MARKET""#, ["order_type", "type"]),
    ] {
        check_type(typed, Code::InvalidPayload, &parts);
    }
}

#[test]
fn contradictions_are_refused() {
    let failed = Code::ValidationFailed;
    let time = "2030-01-01T00:00:00Z";
    for (more, parts) in [
        (format!(r#""time_in_force":"IOC","expire_time":"{time}""#), ["expire_time", "IOC"]),
        (
            format!(
                r#""time_in_force":{{"GTD":{{"expires_at":"{time}"}}}},"expire_time":"2031-01-01T00:00:00Z""#
            ),
            ["expire_time", "GTD"],
        ),
        (r#""remaining_quantity":"0.5""#.to_owned(), ["remaining_quantity", "quantity 1"]),
        (r#""expire_time":"9999-12-31T23:59:59-23:59""#.to_owned(), ["expire_time", "9999"]),
    ] {
        check_type(&format!(r#""type":"MARKET",{more}"#), failed, &parts);
    }
    check_type(r#""type":"LIMIT_MAKER","price":1,"post_only":false"#, failed, &["post_only", "LIMIT_MAKER"]);
    check(r#""time_in_force":"GTD""#, &["expire_time", "missing"]);
    check(
        r#""post_only":true,"execution_instructions":{"post_only":true}"#,
        &["post_only", "execution_instructions.post_only"],
    );
}

#[test]
fn the_workers_fields_take_only_initial_values() {
    for (field, value) in [
        ("status", "\"Filled\""),
        ("status", r#"{"Rejected":{"reason":"x"}}"#),
        ("broker_order_id", "\"7\""),
        ("average_fill_price", "0"),
        ("filled_quantity", "0.1"),
        ("filled_notional", "1"),
        ("commission", "-1"),
        ("commissions", r#"{"USDT":"0"}"#),
        ("pending_cancel", "true"),
        ("pending_replace", "true"),
        ("parked", "true"),
        ("triggered", "true"),
        ("trailing", r#"{"water_mark":"1","stop_price":"1"}"#),
        ("ends_at", "\"2026-01-01T00:00:00Z\""),
        ("version", "1"),
        ("events", "[1]"),
    ] {
        check(&format!(r#""{field}":{value}"#), &[field, "worker's to fill"]);
    }
}

#[test]
fn a_key_appears_once() {
    check(r#""side":"Sell""#, &["side appears twice"]);
    check(r#""SIDE":"Sell""#, &["side and SIDE are the same field"]);
    check(r#""timeInForce":null,"time_in_force":"IOC""#, &["timeInForce and time_in_force"]);
    check(r#""s\u0069de":"Sell""#, &["side appears twice"]);
    check(r#""metadata":{"a":{"b":1,"c":2,"b":3}}"#, &["metadata.a.b appears twice"]);
    check(r#""metadata":{"a":[{"b":1,"b":1}]}"#, &["metadata.a.0.b appears twice"]);
    check(
        r#""execution_instructions":{"post_only":true,"post_only":true}"#,
        &["execution_instructions.post_only"],
    );
    let many: Vec<String> = (0..2_000).map(|n| format!(r#""k{n}":{n}"#)).collect();
    check(&format!(r#""metadata":{{{},"k77":0}}"#, many.join(",")), &["metadata.k77 appears twice"]);
}

#[test]
fn characters_that_cannot_be_kept_are_refused() {
    check(r#""strategy_id":"a\u0000b""#, &["strategy_id", "NUL"]);
    check(r#""metadata":{"x":["\u0000"]}"#, &["metadata.x.0", "NUL"]);
    check(r#""metadata":{"x\u0000":1}"#, &["metadata.x", "key"]);
    check(r#""metadata":{"$serde_json::private::Number":"1"}"#, &["metadata.$serde_json", "key"]);
    check("\"metadata\":{\"x\":\"a\0b\"}", &["metadata.x", "NUL"]);
    check("\"strategy_id\":\"a\nb\"", &["strategy_id", "control character"]);
    check(r#""strategy_id":"a\nb""#, &["strategy_id", "control character"]);
    check_order("[\"a\", \"b\0\"]", Code::InvalidPayload, &["order.1 has a NUL character"]);
    check(r#""strategy_id":"\ud800""#, &["strategy_id", "surrogate"]);
    check(r#""metadata":{"x":"\udc00x"}"#, &["metadata.x", "surrogate"]);
    check(&format!(r#""signal_id":"{}""#, "é".repeat(257)), &["signal_id", "256 characters"]);
    let links: Vec<&str> = std::iter::repeat_n("\"a\"", 65).collect();
    check(&format!(r#""linked_orders":[{}]"#, links.join(",")), &["linked_orders", "at most 64"]);
}

#[test]
fn invalid_utf8_names_the_field_and_the_offset() {
    let mut bytes = order_with(r#""strategy_id":"?""#).into_bytes();
    let at = bytes.iter().position(|b| *b == b'?').unwrap();
    bytes[at] = 0xff;
    let refused = refused(&[(b"order", &bytes)]);
    assert_eq!(refused.refusal.code, Code::InvalidPayload);
    assert_eq!(refused.refusal.reason, format!("strategy_id is not UTF-8: byte 0xff at offset {at}"));
    assert_eq!(refused.payload, Some(bytes));
}

#[test]
fn broken_json_names_the_field() {
    for (json, parts) in [
        ("", ["order is not complete JSON", ""]),
        ("{", ["order is not complete JSON", ""]),
        (r#"{"symbol":"X","side":"#, ["side is not complete JSON", ""]),
        (r#"{"symbol":"X","quantity":NaN}"#, ["quantity is not valid JSON", "near `NaN}`"]),
        (r#"{"symbol":"X","metadata":{"a":[1,2,x]}}"#, ["metadata.a.2 is not valid JSON", "near `x]}}`"]),
        ("{\"symbol\":\"X\",\n\"quantity\":\n  .5}", ["quantity is not valid JSON", "near `.5}`"]),
        (r#"{"symbol":"X" "side":1}"#, ["symbol is not valid JSON", "near `\"side\":1}`"]),
        (r#"{"symbol":"X"} x"#, ["order is not valid JSON: trailing characters", "near `x`"]),
        (r#"{"symbol":"X",}"#, ["order is not valid JSON", "trailing comma"]),
        (r#"{"":x}"#, ["`` is not valid JSON", "near `x}`"]),
        ("{'symbol':'X'}", ["order is not valid JSON", "key must be a string"]),
    ] {
        check_order(json, Code::InvalidPayload, &parts);
    }
}

#[test]
fn nesting_is_bounded_before_parsing() {
    let nested = |levels: usize| {
        let inner = levels - 2;
        format!(r#""metadata":{{"a":{}{}}}"#, "[".repeat(inner), "]".repeat(inner))
    };
    super::accepted(&order_with(&format!(r#""order_type":"Market",{}"#, nested(32))));
    check(&nested(33), &["metadata.a.0", "deeper than 32 levels"]);
    check(&nested(20_000), &["metadata.a", "deeper than 32 levels"]);
    let text = format!(r#""strategy_id":"{}\"{}""#, "[".repeat(50), "{".repeat(50));
    super::accepted(&order_with(&format!(r#""order_type":"Market",{text}"#)));
}

#[test]
fn an_oversized_payload_is_not_read_and_kept_in_part() {
    let padded = |len: usize| {
        let json = order_with(r#""order_type":"Market""#);
        format!("{json}{}", " ".repeat(len - json.len()))
    };
    super::accepted(&padded(MAX_PAYLOAD));
    let long = padded(MAX_PAYLOAD + 1);
    let refused = refused(&[(b"order", long.as_bytes())]);
    assert_eq!(refused.refusal.code, Code::InvalidPayload);
    assert_eq!(refused.refusal.reason, "order has 65537 bytes; at most 65536 are taken");
    assert_eq!(refused.payload.as_deref(), Some(&long.as_bytes()[..MAX_PAYLOAD]));
    assert_eq!(refused.client_order_id, None);
}

#[test]
fn a_long_value_is_cut() {
    let reason = refused(&[(b"order", order_with(&format!(r#""type":"{}""#, "x".repeat(900))).as_bytes())])
        .refusal
        .reason;
    assert!(reason.contains(&format!("`\"{}…`", "x".repeat(39))), "{reason}");
}
