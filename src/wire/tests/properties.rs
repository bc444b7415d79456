use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Number, Value};
use uuid::Uuid;

use super::{accepted, decode, order_with};
use crate::domain::amount::{Price, Quantity};
use crate::domain::ids::OrderId;
use crate::domain::order::OrderSpec;
use crate::domain::order_type::{
    Comparison, Condition, ConditionType, DistanceType, ExecutionInstructions, OrderType, Side, TimeInForce,
};
use crate::domain::request::Request;
use crate::domain::time::Timestamp;
use crate::wire::spec_json;

fn positive() -> impl Strategy<Value = Decimal> {
    (1i128..9_999_999_999_999_999_999_999_999_999, 0u32..=28)
        .prop_map(|(mantissa, scale)| Decimal::from_i128_with_scale(mantissa, scale).normalize())
}

fn price() -> impl Strategy<Value = Price> {
    positive().prop_map(|value| Price::new(value).unwrap())
}

fn quantity() -> impl Strategy<Value = Quantity> {
    positive().prop_map(|value| Quantity::new(value).unwrap())
}

fn name(max: usize) -> impl Strategy<Value = String> {
    proptest::string::string_regex(&format!("[A-Za-z0-9._:/-]{{1,{max}}}")).unwrap()
}

fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[^\\p{Cc}]{0,40}").unwrap()
}

fn time() -> impl Strategy<Value = Timestamp> {
    (-62_135_596_800_000_000i64..=253_402_300_799_999_999).prop_map(Timestamp::from_micros)
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|n| Value::Number(n.into())),
        positive().prop_map(|d| Value::Number(d.to_string().parse::<Number>().unwrap())),
        "[^\\x00]{0,20}".prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            btree_map("[^\\x00]{0,8}", inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn order_type() -> impl Strategy<Value = OrderType> {
    let unit = prop_oneof![Just(DistanceType::Absolute), Just(DistanceType::Percent)];
    prop_oneof![
        Just(OrderType::Market),
        price().prop_map(|price| OrderType::Limit { price }),
        price().prop_map(|stop_price| OrderType::Stop { stop_price }),
        (price(), price())
            .prop_map(|(stop_price, limit_price)| OrderType::StopLimit { stop_price, limit_price }),
        (price(), unit)
            .prop_map(|(distance, distance_type)| OrderType::TrailingStop { distance, distance_type }),
        price().prop_map(|trigger_price| OrderType::MarketIfTouched { trigger_price }),
        (price(), price()).prop_map(|(trigger_price, limit_price)| OrderType::LimitIfTouched {
            trigger_price,
            limit_price
        }),
        (quantity(), quantity(), proptest::option::of(quantity())).prop_map(
            |(display_quantity, total_quantity, variance)| OrderType::Iceberg {
                display_quantity,
                total_quantity,
                variance
            }
        ),
        (text(), json()).prop_map(|(algorithm, params)| OrderType::Custom { algorithm, params }),
    ]
}

fn time_in_force() -> impl Strategy<Value = TimeInForce> {
    prop_oneof![
        Just(TimeInForce::Gtc),
        time().prop_map(|expires_at| TimeInForce::Gtd { expires_at }),
        Just(TimeInForce::Ioc),
        Just(TimeInForce::Fok),
        Just(TimeInForce::Moc),
        Just(TimeInForce::Loc),
        Just(TimeInForce::Day),
    ]
}

fn instructions() -> impl Strategy<Value = ExecutionInstructions> {
    let option = proptest::option::of::<BoxedStrategy<Value>>;
    let urgency = option(json().prop_filter("null is left out", |value| !value.is_null()).boxed());
    (any::<[bool; 2]>(), any::<[Option<bool>; 2]>(), proptest::option::of(quantity()), urgency).prop_map(
        |([post_only, reduce_only], [allow_partial_fills, would_price_improve], display_size, urgency)| {
            ExecutionInstructions {
                post_only,
                reduce_only,
                display_size,
                allow_partial_fills,
                urgency,
                would_price_improve,
            }
        },
    )
}

fn condition() -> impl Strategy<Value = Condition> {
    let comparison = prop_oneof![
        Just(Comparison::GreaterOrEqual),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Greater),
        Just(Comparison::Less),
        Just(Comparison::Equal),
    ];
    (price(), comparison).prop_map(|(trigger_value, comparison)| Condition {
        condition_type: ConditionType::Price,
        trigger_value,
        comparison,
    })
}

prop_compose! {
    fn spec()(
        id in 1u128..,
        names in (name(64), name(32), proptest::option::of(name(32))),
        buy in any::<bool>(),
        quantity in quantity(),
        order_type in order_type(),
        time_in_force in time_in_force(),
        conditions in vec(condition(), 0..3),
        linked_orders in vec(text(), 0..3),
        execution_instructions in instructions(),
        max_slippage in proptest::option::of(quantity()),
        position_size_check in any::<Option<bool>>(),
        texts in proptest::array::uniform4(proptest::option::of(text())),
        metadata in proptest::option::of(btree_map("[^\\x00]{0,8}", json(), 0..4)),
    ) -> OrderSpec {
        let [parent_order_id, strategy_id, signal_id, component_name] = texts;
        OrderSpec {
            id: OrderId(Uuid::from_u128(id)),
            client_order_id: names.0.parse().unwrap(),
            symbol: names.1.parse().unwrap(),
            side: if buy { Side::Buy } else { Side::Sell },
            quantity,
            order_type,
            time_in_force,
            broker: names.2.map(|name| name.parse().unwrap()),
            conditions,
            parent_order_id,
            linked_orders,
            execution_instructions,
            max_slippage,
            position_size_check,
            strategy_id,
            signal_id,
            component_name,
            metadata: metadata.map(|map| Value::Object(map.into_iter().collect())),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(spec in spec()) {
        let json = spec_json(&spec);
        prop_assert_eq!(&accepted(&json), &spec);
        let journaled: OrderSpec = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(journaled.content_hash().unwrap(), spec.content_hash().unwrap());
    }

    #[test]
    fn amounts_keep_their_digits(value in positive(), as_text in any::<bool>()) {
        let digits = value.to_string();
        let number = if as_text { format!("\"{digits}\"") } else { digits.clone() };
        let order = format!(r#"{{"symbol":"X","side":"Buy","type":"LIMIT","quantity":{number},"price":{number}}}"#);
        let spec = accepted(&order);
        prop_assert_eq!(spec.quantity.to_string(), digits.clone());
        prop_assert_eq!(spec.order_type.limit_price().unwrap().to_string(), digits);
    }

    #[test]
    fn numbers_in_metadata_keep_their_digits(number in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?(e[+-][0-9]{1,5})?") {
        let spec = accepted(&order_with(&format!(r#""type":"MARKET","metadata":{{"n":{number}}}"#)));
        prop_assert_eq!(spec.metadata.unwrap()["n"].to_string(), number);
    }

    #[test]
    fn any_bytes_are_answered(name in prop_oneof![Just("order"), Just("cancel"), Just("cancel_all"), Just("replace"), Just("x")],
        bytes in vec(any::<u8>(), 0..200), timestamp in vec(any::<u8>(), 0..30)) {
        let decoded = decode(&[(name.as_bytes(), &bytes), (b"timestamp", &timestamp), (b"traceparent", &timestamp)]);
        prop_assert!(matches!(decoded.request, Request::Refused(_)));
    }

    #[test]
    fn any_text_of_json_signs_is_answered(text in "[\\[\\]{}\",:\\\\u0-9a-eNn .\\-]{0,120}") {
        for name in ["order", "cancel", "cancel_all", "replace"] {
            prop_assert!(matches!(decode(&[(name.as_bytes(), text.as_bytes())]).request, Request::Refused(_)));
        }
    }

    #[test]
    fn a_damaged_order_is_answered(spec in spec(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut json = spec_json(&spec).into_bytes();
        let at = at.index(json.len());
        if cut { json.truncate(at) } else { json[at] = byte }
        match decode(&[(b"order", &json)]).request {
            Request::Submit(_) => prop_assert!(!cut),
            Request::Refused(refused) => prop_assert!(refused.refusal.reason.chars().count() < 500),
            _ => prop_assert!(false),
        }
    }
}
