use serde_json::json;

use super::{FRESH, accepted, order_with};
use crate::domain::ids::OrderId;
use crate::domain::order::OrderSpec;
use crate::domain::order_type::{ExecutionInstructions, OrderType, Side, TimeInForce};

/// What `more` members make of an order, compared as the canonical JSON of its spec.
fn check(more: &str, expected: serde_json::Value) {
    let spec = serde_json::to_value(accepted(&order_with(more))).unwrap();
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&spec[name], value, "{name} of {more}");
    }
}

/// Two ways to write one order.
fn same(flat: &str, canonical: &str) {
    assert_eq!(accepted(&order_with(flat)), accepted(&order_with(canonical)), "{flat}");
}

#[test]
fn reads_the_canonical_form_with_every_field() {
    let spec = accepted(include_str!("../../../tests/data/wire/canonical_full.json"));
    let expected: OrderSpec =
        serde_json::from_str(include_str!("../../../tests/data/wire/canonical_full_spec.json")).unwrap();
    assert_eq!(spec, expected);
}

#[test]
fn reads_the_flat_form_with_every_field() {
    let spec = accepted(include_str!("../../../tests/data/wire/flat_full.json"));
    assert_eq!(spec.client_order_id.as_str(), "flat-1");
    assert_eq!(spec.side, Side::Sell);
    assert_eq!(spec.quantity.to_string(), "0.001");
    let (trigger, limit) = ("45100.5".parse().unwrap(), "45000".parse().unwrap());
    assert_eq!(spec.order_type, OrderType::LimitIfTouched { trigger_price: trigger, limit_price: limit });
    let expires_at = "2030-01-31T10:00:00Z".parse().unwrap();
    assert_eq!(spec.time_in_force, TimeInForce::Gtd { expires_at });
    assert_eq!(
        spec.execution_instructions,
        ExecutionInstructions {
            post_only: false,
            reduce_only: true,
            display_size: Some("0.0005".parse().unwrap()),
            allow_partial_fills: Some(true),
            ..ExecutionInstructions::default()
        }
    );
    assert_eq!(spec.strategy_id.as_deref(), Some("mean-reversion"));
    assert_eq!(spec.position_size_check, Some(true));
}

#[test]
fn reads_the_flat_example_of_the_contract() {
    let spec = accepted(
        r#"{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT","quantity":0.001,"price":45000.0,"time_in_force":"GTC","post_only":true}"#,
    );
    assert_eq!(spec.client_order_id.as_str(), "RT_BTCUSDT_Buy_1700000000123_0000000a");
    assert_eq!(spec.id, OrderId(FRESH));
    assert_eq!(spec.quantity.to_string(), "0.001");
    assert_eq!(spec.order_type, OrderType::Limit { price: "45000".parse().unwrap() });
    assert!(spec.execution_instructions.post_only);
}

#[test]
fn flat_types_mean_canonical_ones() {
    same(r#""type":"MARKET""#, r#""order_type":"Market""#);
    same(r#""order_type":{"Market":null}"#, r#""order_type":{"Market":{}}"#);
    same(r#""type":"limit","price":1.5"#, r#""order_type":{"Limit":{"price":"1.5"}}"#);
    same(r#""order_type":"Limit","price":"1.50""#, r#""order_type":{"Limit":{"price":"1.5"}}"#);
    same(r#""Type":"Limit","limitPrice":"1.5""#, r#""order_type":{"limit":{"price":"1.5"}}"#);
    let maker = r#""order_type":{"Limit":{"price":"1.5"}},"execution_instructions":{"post_only":true}"#;
    same(r#""type":"LIMIT_MAKER","price":1.5"#, maker);
    same(r#""type":"LIMIT_MAKER","price":1.5,"postOnly":true"#, maker);
    for name in ["STOP", "STOP_LOSS", "stopLoss", "Stop"] {
        same(&format!(r#""type":"{name}","stopPrice":9"#), r#""order_type":{"Stop":{"stop_price":"9"}}"#);
    }
    for name in ["STOP_LIMIT", "STOP_LOSS_LIMIT", "StopLimit"] {
        let canonical = r#""order_type":{"StopLimit":{"stop_price":"9","limit_price":"8"}}"#;
        same(&format!(r#""type":"{name}","stopPrice":9,"price":8"#), canonical);
        same(&format!(r#""type":"{name}","stop_price":"9","limit_price":"8""#), canonical);
    }
    for name in ["TAKE_PROFIT", "MARKET_IF_TOUCHED"] {
        let canonical = r#""order_type":{"MarketIfTouched":{"trigger_price":"9"}}"#;
        same(&format!(r#""type":"{name}","stopPrice":9"#), canonical);
        same(&format!(r#""type":"{name}","triggerPrice":9"#), canonical);
    }
    for name in ["TAKE_PROFIT_LIMIT", "LIMIT_IF_TOUCHED"] {
        let canonical = r#""order_type":{"LimitIfTouched":{"trigger_price":"9","limit_price":"8"}}"#;
        same(&format!(r#""type":"{name}","stopPrice":9,"price":8"#), canonical);
    }
    same(
        r#""type":"TRAILING_STOP","distance":5,"distanceType":"PERCENT""#,
        r#""order_type":{"TrailingStop":{"distance":"5","distance_type":"Percent"}}"#,
    );
}

#[test]
fn enumerated_values_and_names_come_in_any_case() {
    let market = r#""order_type":"Market","#;
    let with = |more: &str| format!("{market}{more}");
    for tif in ["IOC", "ioc", "Ioc"] {
        check(&with(&format!(r#""time_in_force":"{tif}""#)), json!({"time_in_force": "IOC"}));
        check(&with(&format!(r#""timeInForce":"{tif}""#)), json!({"time_in_force": "IOC"}));
        check(&with(&format!(r#""TIME_IN_FORCE":"{tif}""#)), json!({"time_in_force": "IOC"}));
    }
    check(&with(r#""strategyId":"s""#), json!({"strategy_id": "s"}));
    for side in ["SELL", "sell", "Sell"] {
        let order = format!(r#"{{"SYMBOL":"X","Side":"{side}","quantity":"1","TYPE":"market"}}"#);
        assert_eq!(accepted(&order).side, Side::Sell);
    }
}

#[test]
fn gtd_is_written_in_three_ways() {
    let spec = json!({"time_in_force": {"GTD": {"expires_at": "2030-01-01T00:00:00.000000Z"}}});
    for more in [
        r#""time_in_force":{"GTD":{"expires_at":"2030-01-01T00:00:00Z"}}"#,
        r#""time_in_force":{"gtd":{"expiresAt":"2030-01-01T01:00:00+01:00"}}"#,
        r#""expire_time":"2030-01-01T00:00:00Z""#,
        r#""time_in_force":"GTD","expire_time":"2030-01-01T00:00:00Z""#,
        r#""time_in_force":{"GTD":{"expires_at":"2030-01-01T00:00:00Z"}},"expireTime":"2030-01-01T00:00:00Z""#,
    ] {
        check(&format!(r#""order_type":"Market",{more}"#), spec.clone());
    }
}

#[test]
fn numbers_keep_their_digits() {
    for (number, digits) in [
        ("0.1000000000000000055511151231", "0.1000000000000000055511151231"),
        ("1234567890123456789012345678", "1234567890123456789012345678"),
        ("\"0.30\"", "0.3"),
        ("1E-8", "0.00000001"),
        ("1e3", "1000"),
    ] {
        let order =
            format!(r#"{{"symbol":"X","side":"Buy","type":"LIMIT","quantity":{number},"price":{number}}}"#);
        let spec = accepted(&order);
        assert_eq!(spec.quantity.to_string(), digits);
        assert_eq!(spec.order_type.limit_price().unwrap().to_string(), digits);
    }
}

#[test]
fn metadata_keeps_what_it_was_given() {
    let metadata = r#"{"a":[1.10,-0,1e+400,123456789012345678901234567890123],"b":{"c":"\u00e9\n","d":null,"e":[true,{}]}}"#;
    let spec = accepted(&order_with(&format!(r#""order_type":"Market","metadata":{metadata}"#)));
    let written = serde_json::to_string(&spec.metadata).unwrap();
    assert_eq!(written, metadata.replace(r"\u00e9", "é"));
}

#[test]
fn null_is_an_optional_field_left_out() {
    let optional = [
        "client_order_id",
        "time_in_force",
        "expire_time",
        "broker",
        "conditions",
        "parent_order_id",
        "linked_orders",
        "execution_instructions",
        "max_slippage",
        "position_size_check",
        "strategy_id",
        "signal_id",
        "component_name",
        "metadata",
        "id",
        "price",
        "stopPrice",
        "post_only",
    ];
    let nulls: Vec<String> = optional.iter().map(|name| format!(r#""{name}":null"#)).collect();
    let order = |more: &str| format!(r#"{{"symbol":"X","side":"Buy","quantity":1,"type":"MARKET"{more}}}"#);
    assert_eq!(accepted(&order(&format!(",{}", nulls.join(",")))), accepted(&order("")));
}

#[test]
fn the_initial_values_of_the_workers_fields_are_taken() {
    let initial = r#""status":"Created","broker_order_id":null,"filled_quantity":"0","remaining_quantity":1.00,
        "average_fill_price":null,"filled_notional":0,"commission":0.0,"commissions":{},"pending_cancel":false,
        "pending_replace":false,"parked":false,"version":0,"created_at":"2020-01-01T00:00:00Z","updated_at":null,"events":[]"#;
    let market = r#""order_type":"Market""#;
    same(&format!("{market},{initial}"), market);
    same(
        &format!(r#"{market},"remaining_quantity":null,"commissions":null,"events":null,"commission":null"#),
        market,
    );
}

#[test]
fn a_json_text_may_be_spaced_and_escaped() {
    let spaced = " \n{ \"symbol\" : \"EUR\\u005fUSD\", \"s\\u0069de\":\"Buy\",\t\"quantity\": 1 ,\"order_type\":\"Market\" } \n";
    assert_eq!(accepted(spaced).symbol.as_str(), "EUR_USD");
}
