//! Average cost, profit and loss.

use super::*;
use crate::domain::amount::Price;
use crate::domain::contract::Contracts;
use crate::domain::event::Commission;
use crate::domain::time::Timestamp;
use crate::domain::trade::TradeTerms;
use proptest::prelude::*;

fn terms(quantity: &str, price: &str, commission: &str) -> TradeTerms {
    TradeTerms {
        quantity: quantity.parse().unwrap(),
        price: price.parse().unwrap(),
        commission: Some(Commission {
            asset: "USD".into(),
            amount: commission.parse().unwrap(),
            quote_value: Some(commission.parse().unwrap()),
        }),
        contract: None,
    }
}

/// The next in sequence. `was`: what is taken back, and where it was booked.
fn change<'a>(
    position: &Position,
    was: Option<(&'a TradeTerms, u64)>,
    now: Option<&'a TradeTerms>,
) -> TradeChange<'a> {
    let was = was.map(|(was, at)| (was.traded(), at));
    TradeChange {
        trade_id: "t",
        was,
        now: now.map(TradeTerms::traded),
        at: Timestamp::from_micros(0),
        position_sequence: position.sequence + 1,
    }
}

fn bought(position: &Position, side: Side, quantity: &str, price: &str) -> Position {
    position.booked(side, &change(position, None, Some(&terms(quantity, price, "0")))).unwrap()
}

fn check(fills: &[(Side, &str, &str)], quantity: &str, average: Option<&str>, realized: &str) {
    let position = fills.iter().fold(Position::FLAT, |p, (side, q, price)| bought(&p, *side, q, price));
    assert_eq!(position.quantity.to_string(), quantity, "{fills:?}");
    assert_eq!(position.average_price().map(|a| a.to_string()).as_deref(), average, "{fills:?}");
    assert_eq!(position.realized_pnl.to_string(), realized, "{fills:?}");
}

#[test]
fn average_cost() {
    use Side::{Buy, Sell};
    check(&[(Buy, "1", "100"), (Buy, "1", "110")], "2", Some("105"), "0");
    check(&[(Buy, "2", "105"), (Sell, "1", "115")], "1", Some("105"), "10");
    check(&[(Sell, "2", "100"), (Buy, "1", "90")], "-1", Some("100"), "10");
    check(&[(Buy, "1", "100"), (Sell, "3", "110")], "-2", Some("110"), "10");
    check(&[(Sell, "1", "100"), (Buy, "3", "110")], "2", Some("110"), "-10");
    check(&[(Buy, "3", "10"), (Sell, "3", "11")], "0", None, "3");
    check(
        &[(Buy, "12", "100"), (Buy, "17", "99"), (Sell, "9", "101"), (Sell, "4", "105"), (Buy, "3", "103")],
        "19",
        Some("99.9800362976406534"),
        "36.6206896551724138",
    );
}

fn stands(position: &Position, quantity: &str, average: Option<&str>, realized: &str) {
    assert_eq!(position.quantity.to_string(), quantity);
    assert_eq!(position.average_price().map(|a| a.to_string()).as_deref(), average);
    assert_eq!(position.realized_pnl.to_string(), realized);
}

#[test]
fn a_trade_of_which_nothing_was_closed_since_leaves_as_it_came() {
    let first = terms("10", "100", "1");
    let position = Position::FLAT.booked(Side::Buy, &change(&Position::FLAT, None, Some(&first))).unwrap();
    let position = bought(&position, Side::Buy, "10", "110");
    stands(&position, "20", Some("105"), "0");
    let busted = position.booked(Side::Buy, &change(&position, Some((&first, 1)), None)).unwrap();
    stands(&busted, "10", Some("110"), "0");
    assert_eq!((busted.commission, busted.sequence), (Amount::ZERO, 3));
    let corrected =
        position.booked(Side::Buy, &change(&position, Some((&first, 1)), Some(&terms("5", "104", "2"))));
    let corrected = corrected.unwrap();
    stands(&corrected, "15", Some("108"), "0");
    assert_eq!(corrected.commission.to_string(), "2");
    // A bust that flattens leaves no cost behind.
    let flat = busted.booked(Side::Buy, &change(&busted, Some((&terms("10", "110", "0"), 2)), None)).unwrap();
    assert_eq!((flat.cost, flat.average_price()), (Amount::ZERO, None));
}

#[test]
fn a_trade_of_which_something_was_closed_is_closed_at_its_own_price() {
    let first = terms("10", "100", "0");
    let position = Position::FLAT.booked(Side::Buy, &change(&Position::FLAT, None, Some(&first))).unwrap();
    let position = bought(&position, Side::Buy, "10", "110");
    let position = bought(&position, Side::Sell, "15", "120");
    stands(&position, "5", Some("105"), "225");
    // Without it the five would have been sold short: 1200 - 1100 realized, 5 short at 120.
    let busted = position.booked(Side::Buy, &change(&position, Some((&first, 1)), None)).unwrap();
    stands(&busted, "-5", Some("100"), "200");
    let mark = Decimal::from(115);
    let never_bought = bought(&bought(&Position::FLAT, Side::Buy, "10", "110"), Side::Sell, "15", "120");
    assert_eq!(busted.equity(mark), never_bought.equity(mark));
}

proptest! {
    /// cash + position · mark = realized − commission + unrealized, for any sequence of fills, corrections and busts.
    #[test]
    fn money_is_conserved(
        steps in prop::collection::vec(
            (any::<bool>(), 1i64..100_000, 1i64..1_000_000, -500i64..500, 0u8..6, any::<prop::sample::Index>()),
            1..60,
        ),
        mark in 1i64..1_000_000,
    ) {
        let mut position = Position::FLAT;
        let mut cash = Decimal::ZERO;
        let worth = |side: Side, t: &TradeTerms| {
            side.signed(t.quantity.get() * t.price.get()) + t.commission.as_ref().unwrap().amount.get()
        };
        // Of each side, what is booked of every trade, and where.
        let mut booked: Vec<(Side, TradeTerms, u64)> = Vec::new();
        for (buys, quantity, price, paid, what, which) in steps {
            let text = |value: i64, scale: u32| Decimal::new(value, scale).to_string();
            let new = terms(&text(quantity, 3), &text(price, 2), &text(paid, 2));
            let place = position.sequence + 1;
            let old = (what < 2 && !booked.is_empty()).then(|| booked.remove(which.index(booked.len())));
            let side = old.as_ref().map_or(if buys { Side::Buy } else { Side::Sell }, |(side, ..)| *side);
            let now = (what != 0 || old.is_none()).then_some(&new);
            let was = old.as_ref().map(|(_, was, at)| (was, *at));
            position = position.booked(side, &change(&position, was, now)).unwrap();
            cash += was.map_or(Decimal::ZERO, |(was, _)| worth(side, was));
            if let Some(now) = now {
                cash -= worth(side, now);
                booked.push((side, now.clone(), place));
            }
            let held: Decimal = booked.iter().map(|(side, t, _)| side.signed(t.quantity.get())).sum();
            prop_assert_eq!(position.quantity.get(), held);
            let long = position.quantity.get().is_sign_positive();
            prop_assert!(position.cost.get().is_zero() || position.cost.get().is_sign_positive() == long);
        }
        let mark = Decimal::new(mark, 2);
        let worth = cash + position.quantity.get() * mark;
        prop_assert_eq!(worth, position.equity(mark).unwrap().get());
        if position.quantity.get().is_zero() {
            prop_assert_eq!(position.cost, Amount::ZERO);
        }
    }
}

// ---- worked examples from outside

#[derive(serde::Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    id: String,
    kind: String,
    multiplier: String,
    realized_is: String,
    tolerance: String,
    #[serde(default)]
    spot: bool,
    fx_rate: Option<String>,
    account: Option<InAccount>,
    steps: Vec<Step>,
}

#[derive(serde::Deserialize)]
struct InAccount {
    realized: Option<String>,
    fees: Option<String>,
    net_profit: Option<String>,
}

#[derive(serde::Deserialize)]
struct Step {
    fill: Option<VectorFill>,
    mark: Option<String>,
    expect: Option<Expected>,
}

#[derive(serde::Deserialize)]
struct VectorFill {
    signed_qty: String,
    px: String,
    fee: Option<String>,
    fee_in: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    qty: Option<String>,
    avg_px: Option<String>,
    realized: Option<String>,
    unrealized: Option<String>,
    total: Option<String>,
    fees: Option<String>,
    notional: Option<String>,
    cost_abs: Option<String>,
}

/// Of more digits than an amount has what there is room for.
fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

impl Vector {
    fn contract(&self) -> Contract {
        Contract {
            multiplier: (self.multiplier != "1").then(|| self.multiplier.parse().unwrap()),
            inverse: self.kind == "inverse",
            base: self.spot.then(|| "BASE".to_owned()),
            currency: Some(if self.kind == "inverse" { "BASE" } else { "QUOTE" }.to_owned()),
            fx_rate: self.fx_rate.as_ref().map(|rate| rate.parse().unwrap()),
        }
    }

    /// A fill as a broker would tell it, its commission valued as a ledger values it.
    fn fill(&self, fill: &VectorFill) -> (Side, TradeTerms) {
        let quantity = number(&fill.signed_qty);
        let price = fill.px.parse().unwrap();
        let contracts = Contracts::new(None, Default::default(), [("X".parse().unwrap(), self.contract())]);
        let paid = fill.fee.as_ref().filter(|_| fill.fee_in.is_some()).map(|fee| {
            let asset = if fill.fee_in.as_deref() == Some("base") { "BASE" } else { "QUOTE" };
            let paid = Commission { asset: asset.into(), amount: fee.parse().unwrap(), quote_value: None };
            Commission {
                quote_value: contracts.commission_value(&"X".parse().unwrap(), &paid, price),
                ..paid
            }
        });
        let side = if quantity.is_sign_negative() { Side::Sell } else { Side::Buy };
        let terms = TradeTerms {
            quantity: Quantity::new(quantity.abs()).unwrap(),
            price,
            commission: paid,
            contract: Some(Arc::new(self.contract())),
        };
        (side, terms)
    }

    fn check(&self) {
        let tolerance =
            Decimal::from_scientific(&self.tolerance).or_else(|_| self.tolerance.parse()).unwrap();
        let mut position = Position::FLAT;
        let (mut mark, mut base_fees) = (None, Decimal::ZERO);
        for (n, step) in self.steps.iter().enumerate() {
            if let Some(fill) = &step.fill {
                let (side, terms) = self.fill(fill);
                position = position.booked(side, &change(&position, None, Some(&terms))).unwrap();
                // Where the source books a commission in the base asset as missing quantity alone.
                let in_base =
                    terms.commission.filter(|_| self.spot && fill.fee_in.as_deref() == Some("base"));
                base_fees += in_base.map_or(Decimal::ZERO, |paid| paid.quote_value.unwrap().get());
            }
            mark = step.mark.as_deref().map(number).or(mark);
            let Some(expect) = &step.expect else { continue };
            let near = |what: &str, expected: &Option<String>, found: Option<Decimal>| {
                let Some(expected) = expected.as_deref().map(number) else { return };
                let found = found.unwrap();
                let off = (found - expected).abs();
                // Averages are told to so many decimals.
                let tolerance =
                    if what == "average" { tolerance.max(Decimal::new(1, 15)) } else { tolerance };
                assert!(off <= tolerance, "{} step {n}: {what} is {found}, expected {expected}", self.id);
            };
            let fees = position.commission.get() - base_fees;
            let realized = match self.realized_is.as_str() {
                "net_of_fees" => position.realized_pnl.get() - fees,
                _ => position.realized_pnl.get(),
            };
            near("quantity", &expect.qty, Some(position.quantity.get()));
            near("average", &expect.avg_px, position.average_price());
            near("realized", &expect.realized, Some(realized));
            near("commission", &expect.fees, Some(fees));
            near("cost", &expect.cost_abs, Some(position.cost.get().abs()));
            let unrealized = mark.and_then(|mark| position.unrealized_pnl(mark));
            near("unrealized", &expect.unrealized, unrealized);
            near("total", &expect.total, unrealized.map(|open| realized + open));
            let notional =
                mark.and_then(|mark| self.contract().notional(position.quantity.get().abs(), mark));
            near("notional", &expect.notional, notional);
        }
        self.check_account(&position);
    }

    fn check_account(&self, position: &Position) {
        let Some(account) = &self.account else { return };
        let contract = self.contract();
        let at_rate = |money: Amount| contract.in_account(money.get()).unwrap();
        let text = |money: &Option<String>| money.as_deref().map(number);
        if let Some(realized) = text(&account.realized) {
            assert_eq!(at_rate(position.realized_pnl), realized, "{}", self.id);
        }
        if let Some(fees) = text(&account.fees) {
            assert_eq!(at_rate(position.commission), fees, "{}", self.id);
        }
        if let Some(net) = text(&account.net_profit) {
            assert_eq!(position.account_pnl.get(), net, "{}", self.id);
        }
    }
}

#[test]
fn worked_examples_of_others_come_out() {
    let all: Vectors =
        serde_json::from_str(include_str!("../../../tests/data/position/average_cost.json")).unwrap();
    assert_eq!(all.vectors.len(), 40);
    for vector in &all.vectors {
        vector.check();
    }
}

#[test]
fn a_commission_that_cannot_be_converted_is_counted_and_taken_back_with_its_trade() {
    let paid = Commission { asset: "BNB".into(), amount: "0.1".parse().unwrap(), quote_value: None };
    let bought = TradeTerms { commission: Some(paid), ..terms("1", "100", "0") };
    let position = Position::FLAT.booked(Side::Buy, &change(&Position::FLAT, None, Some(&bought))).unwrap();
    assert_eq!((position.unvalued_commissions, position.commission), (1, Amount::ZERO));
    let busted = position.booked(Side::Buy, &change(&position, Some((&bought, 1)), None)).unwrap();
    assert_eq!(busted.unvalued_commissions, 0);
}

proptest! {
    /// The same for contracts of every kind, with commissions in the base asset too, and in the account's currency at
    /// rates that change: what was paid and what is held comes to what was earned.
    #[test]
    fn money_is_conserved_whatever_the_contract(
        fills in prop::collection::vec(
            (any::<bool>(), 1i64..100_000, 1i64..100_000, -50i64..50, 1i64..400),
            1..40,
        ),
        kind in 0u8..4,
        mark in 1i64..100_000,
    ) {
        let contract = |rate: i64| Arc::new(Contract {
            multiplier: (kind == 1).then(|| "50".parse().unwrap()),
            inverse: kind == 2,
            base: (kind == 3).then(|| "BASE".to_owned()),
            currency: Some("QUOTE".to_owned()),
            fx_rate: Some(Price::new(Decimal::new(rate, 2)).unwrap()),
        });
        let mut position = Position::FLAT;
        let (mut cash, mut held, mut earned) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
        for (buys, quantity, price, fee, rate) in fills {
            let side = if buys { Side::Buy } else { Side::Sell };
            let (quantity, price) = (Decimal::new(quantity, 2), Decimal::new(price, 1));
            let contract = contract(rate);
            let value = contract.value(price).unwrap();
            let fee = Decimal::new(fee, 3);
            let (asset, worth) = if kind == 3 { ("BASE", fee * value) } else { ("QUOTE", fee) };
            let terms = TradeTerms {
                quantity: Quantity::new(quantity).unwrap(),
                price: Price::new(price).unwrap(),
                commission: Some(Commission {
                    asset: asset.into(),
                    amount: Amount::of(fee),
                    quote_value: Some(Amount::of(worth)),
                }),
                contract: Some(contract.clone()),
            };
            let before = position.realized_pnl.get() - position.commission.get();
            position = position.booked(side, &change(&position, None, Some(&terms))).unwrap();
            cash -= side.signed(quantity) * value;
            held += side.signed(quantity);
            if kind == 3 { held -= fee } else { cash -= fee }
            let after = position.realized_pnl.get() - position.commission.get();
            earned += contract.in_account(after - before).unwrap();
            prop_assert_eq!(position.quantity.get(), held);
            // Of each step what rounds to the last digit, and no more.
            prop_assert!((position.account_pnl.get() - earned).abs() <= Decimal::new(1, 12));
        }
        let mark = Decimal::new(mark, 1);
        let worth = cash + held * contract(100).value(mark).unwrap();
        prop_assert_eq!(worth.normalize(), position.equity(mark).unwrap().get());
    }
}
