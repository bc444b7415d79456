//! The ledger: its fold is the state, its file survives what happens to files.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::super::ledger::{Ledger, LedgerError};
use super::*;

fn write(path: &Path, placements: &[Placement]) -> Bench {
    let mut bench = Bench::new(Dedupe::Forever);
    let mut ledger = Ledger::open(path, &mut bench.book).unwrap();
    for placement in placements {
        bench.submit(placement.clone()).unwrap();
    }
    for record in &bench.records {
        ledger.append(record).unwrap();
    }
    ledger.sync().unwrap();
    bench
}

fn read(path: &Path) -> Result<Book, LedgerError> {
    let mut book = Book::new(venue(), Dedupe::Forever);
    Ledger::open(path, &mut book).map(|_| book)
}

#[test]
fn a_ledger_that_is_opened_again_gives_the_same_book() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let bench = write(&path, &[market("a", "1"), limit("b", "1", "44000")]);
    assert!(read(&path).unwrap().has_the_state_of(&bench.book));
    let more = Ledger::open(&path, &mut Book::new(venue(), Dedupe::Forever)).unwrap();
    drop(more);
    assert!(read(&path).unwrap().has_the_state_of(&bench.book), "opening alone changes nothing");
}

#[test]
fn a_torn_last_line_is_cut_off_wherever_it_tore() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    drop(write(&path, &[market("a", "1"), limit("b", "1", "44000")]));
    let whole = fs::read(&path).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for torn in first..whole.len() {
        fs::write(&path, &whole[..torn]).unwrap();
        let book = read(&path).unwrap();
        assert_eq!(book.last_transaction(), 2, "torn at {torn}");
        assert_eq!(fs::metadata(&path).unwrap().len(), first as u64, "torn at {torn}");
    }
}

#[test]
fn what_is_appended_after_a_cut_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    drop(write(&path, &[market("a", "1")]));
    let mut torn = fs::read(&path).unwrap();
    torn.extend(b"{\"time_us\":17,\"po");
    fs::write(&path, &torn).unwrap();
    let mut bench = Bench::new(Dedupe::Forever);
    let mut ledger = Ledger::open(&path, &mut bench.book).unwrap();
    bench.submit(market("b", "1")).unwrap();
    ledger.append(&bench.records[0]).unwrap();
    ledger.sync().unwrap();
    drop(ledger);
    assert!(read(&path).unwrap().has_the_state_of(&bench.book));
}

#[test]
fn anything_else_unreadable_is_an_error_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    drop(write(&path, &[market("a", "1"), market("b", "1")]));
    let whole = String::from_utf8(fs::read(&path).unwrap()).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let cases = [
        format!("{}\n{{\"time_us\": 3, \"nonsense\": 1}}\n", lines[0]),
        format!("{}\n\n{}\n", lines[0], lines[1]),
        format!("{}\n", lines[1]),
        format!("{}\n{}\n", lines[0], lines[0]),
        "somebody's other file".to_owned(),
    ];
    for text in cases {
        fs::write(&path, &text).unwrap();
        let error = read(&path).unwrap_err();
        let unreadable = matches!(error, LedgerError::Unreadable { .. } | LedgerError::Contradiction { .. });
        assert!(unreadable, "{error}: {text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn two_exchanges_do_not_share_a_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let mut book = Book::new(venue(), Dedupe::Forever);
    let ledger = Ledger::open(&path, &mut book).unwrap();
    assert!(matches!(read(&path), Err(LedgerError::Taken(_))));
    drop(ledger);
    read(&path).unwrap();
}

fn any_dedupe() -> impl Strategy<Value = Dedupe> {
    prop_oneof![Just(Dedupe::Forever), Just(Dedupe::Open), Just(Dedupe::None)]
}

proptest! {
    /// Whatever is asked, replaying the ledger gives the book that wrote it, and the trades add up.
    #[test]
    fn the_fold_of_the_ledger_is_the_state(
        dedupe in any_dedupe(),
        steps in prop::collection::vec((0u8..6, 0u8..4, 1i64..40, -8i64..8, any::<bool>()), 1..60),
    ) {
        let mut bench = Bench::new(dedupe);
        for (what, id, size, offset, flag) in steps {
            let id = format!("c{id}");
            let quantity = Decimal::new(size, 1).to_string();
            let price = Decimal::new(45_000 + offset * 10, 0).to_string();
            let side = if flag { Side::Buy } else { Side::Sell };
            match what {
                0 => drop(bench.submit(Placement { side, ..market(&id, &quantity) })),
                1 => drop(bench.submit(Placement { side, ..limit(&id, &quantity, &price) })),
                2 => drop(bench.submit(Placement { side, post_only: true, ..limit(&id, &quantity, &price) })),
                3 => drop(bench.cancel(&id)),
                4 => drop(bench.replace(&id, &format!("r{size}"), flag.then_some(&quantity), Some(&price))),
                _ => {
                    let ask = Decimal::new(45_010 + offset * 10, 0);
                    bench.prices(&format!(
                        r#"{{"BTCUSDT": {{"bid": "{price}", "ask": "{ask}", "ask_size": "{quantity}", "bid_size": "1"}}}}"#
                    ));
                }
            }
        }
        bench.check_replay();
        for truth in bench.truth() {
            for generation in truth.generations {
                let sum: Decimal = generation.executions.iter().map(|e| e.quantity.get()).sum();
                prop_assert_eq!(sum, generation.filled_quantity.get());
                prop_assert!(generation.filled_quantity <= generation.quantity);
                prop_assert_eq!(
                    generation.filled_quantity == generation.quantity,
                    generation.status == OrderStatus::Filled
                );
            }
        }
    }
}
