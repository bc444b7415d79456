//! The script of faults.

use super::super::faults::{Fault, Operation, Script};
use super::*;

fn script(text: &str) -> Script {
    let script: Script = serde_json::from_str(text).unwrap();
    script.check().unwrap();
    script
}

#[test]
fn the_first_rule_that_matches_applies_as_often_as_it_says() {
    let mut script = script(
        r#"{"rules": [
            {"on": "submit", "fault": {"drop": {}}, "times": 2, "client_order_id": "a-"},
            {"on": "any", "fault": {"lag": {"ms": 5}}},
            {"on": "submit", "fault": {"status": {"status": 503, "retry_after_s": 7}}, "times": 1}
        ]}"#,
    );
    let (a, b) = (client("a-1"), client("b-1"));
    let unavailable = Fault::Status { status: 503, retry_after_s: Some(7) };
    assert_eq!(script.draw(Operation::Submit, Some(&b)), Some(unavailable), "lag is not for submits");
    assert_eq!(script.draw(Operation::Submit, Some(&a)), Some(Fault::Drop {}));
    assert_eq!(script.draw(Operation::Query, Some(&a)), Some(Fault::Lag { ms: 5 }));
    assert_eq!(script.draw(Operation::Submit, Some(&a)), Some(Fault::Drop {}));
    assert_eq!(script.draw(Operation::Submit, Some(&a)), None);
    assert_eq!(script.draw(Operation::OpenOrders, None), Some(Fault::Lag { ms: 5 }));
    let hits: Vec<_> = json(&script.rules()).as_array().unwrap().iter().map(|r| r["hits"].clone()).collect();
    assert_eq!(hits, [json(&2), json(&2), json(&1)]);
}

#[test]
fn the_same_seed_draws_the_same_share() {
    let draws = |seed: u64| -> Vec<bool> {
        let mut script = script(&format!(
            r#"{{"seed": {seed}, "rules": [{{"on": "submit", "fault": {{"drop": {{}}}}, "share": 0.3}}]}}"#
        ));
        (0..1000).map(|_| script.draw(Operation::Submit, None).is_some()).collect()
    };
    assert_eq!(draws(1), draws(1));
    assert_ne!(draws(1), draws(2));
    let hits = draws(1).iter().filter(|hit| **hit).count();
    assert!((250..350).contains(&hits), "{hits} of 1000");
}

#[test]
fn nothing_and_everything_are_shares() {
    let mut never = script(r#"{"rules": [{"on": "any", "fault": {"drop": {}}, "share": 0}]}"#);
    let mut always = script(r#"{"rules": [{"on": "any", "fault": {"drop": {}}, "share": "1"}]}"#);
    for _ in 0..200 {
        assert_eq!(never.draw(Operation::Cancel, None), None);
        assert_eq!(always.draw(Operation::Cancel, None), Some(Fault::Drop {}));
    }
}

#[test]
fn what_makes_no_sense_is_told() {
    for text in [
        r#"{"rules": [{"on": "submit", "fault": {"lag": {"ms": 1}}}]}"#,
        r#"{"rules": [{"on": "query", "fault": {"repeat": {}}}]}"#,
        r#"{"rules": [{"on": "submit", "fault": {"status": {"status": 99}}}]}"#,
        r#"{"rules": [{"on": "submit", "fault": {"silence": {"ms": 60001}}}]}"#,
        r#"{"rules": [{"on": "submit", "fault": {"drop": {}}, "share": 1.1}]}"#,
        r#"{"rules": [{"on": "submit", "fault": {"drop": {}}, "share": -0.1}]}"#,
        r#"{"rules": [{"on": "nothing", "fault": {"drop": {}}}]}"#,
        r#"{"rules": [{"on": "submit", "fault": {"explode": {}}}]}"#,
        r#"{"rules": [{"on": "submit", "fault": {"drop": {}}, "hits": 3}]}"#,
        r#"{"rules": [], "sead": 3}"#,
    ] {
        let read = serde_json::from_str::<Script>(text).map_err(|error| error.to_string());
        assert!(read.and_then(|script| script.check()).is_err(), "{text}");
    }
}
