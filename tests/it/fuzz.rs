//! The short form of the fuzzing (docs/fuzzing.md): the seed inputs, and mutations of them, through the very
//! properties that the fuzz targets check.
//!
//! A mutation is a function of its number. What fails prints it; `FUZZ_INPUT=<number>` runs that one alone, and
//! `FUZZ_INPUTS=<count>` runs more of them.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::{env, fs};

use fastrand::Rng;
use order_execution::domain::request::RequestKind;

#[path = "../../fuzz/properties/mod.rs"]
mod properties;

use properties::{Seen, check_entry, check_wire};

/// Mutations for each of the two targets.
const INPUTS: u64 = 50_000;
/// A mutation stays as short as the fuzzer's own inputs.
const LONGEST: usize = 768;
/// Mutations of one seed input, one upon the other, at most.
const STEPS: usize = 5;

type Check = fn(&[u8]) -> Option<Seen>;

#[test]
fn whatever_a_request_field_holds_is_answered() {
    let seen = run("wire", check_wire);
    for kind in [RequestKind::Submit, RequestKind::Cancel, RequestKind::CancelAll, RequestKind::Replace] {
        reached(&seen, kind, true);
        reached(&seen, kind, false);
    }
}

#[test]
fn whatever_an_entry_holds_is_answered() {
    let seen = run("entry", check_entry);
    for kind in [RequestKind::Submit, RequestKind::Cancel, RequestKind::CancelAll, RequestKind::Replace] {
        reached(&seen, kind, true);
        reached(&seen, kind, false);
    }
    reached(&seen, RequestKind::Unknown, false);
}

/// Inputs that never get past the first check would show nothing.
fn reached(seen: &HashMap<Seen, u64>, kind: RequestKind, accepted: bool) {
    let count = seen.get(&Seen { kind, accepted }).copied().unwrap_or_default();
    let is_all = env::var_os("FUZZ_INPUT").is_none();
    assert!(count >= 50 || !is_all, "{kind:?}, accepted {accepted}: {count} inputs of {seen:?}");
}

fn run(target: &str, check: Check) -> HashMap<Seen, u64> {
    let seeds = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target));
    let words = words();
    let mut seen = HashMap::new();
    for (name, seed) in &seeds {
        count(&mut seen, checked(check, seed, || format!("fuzz/seeds/{target}/{name}")));
    }
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let numbers = match number("FUZZ_INPUT") {
        Some(one) => one..one + 1,
        None => 0..number("FUZZ_INPUTS").unwrap_or(INPUTS),
    };
    for input in numbers {
        let mut rng = Rng::with_seed(input);
        let data = mutated(&seeds, &words, &mut rng);
        count(&mut seen, checked(check, &data, || format!("FUZZ_INPUT={input} ({target})")));
    }
    println!("{target}: {seen:?}");
    seen
}

fn count(seen: &mut HashMap<Seen, u64>, what: Option<Seen>) {
    if let Some(what) = what {
        *seen.entry(what).or_default() += 1;
    }
}

fn checked(check: Check, data: &[u8], name: impl Fn() -> String) -> Option<Seen> {
    catch_unwind(AssertUnwindSafe(|| check(data))).unwrap_or_else(|panic| {
        eprintln!("{} fails, with the bytes\n{}", name(), data.escape_ascii());
        resume_unwind(panic)
    })
}

/// In the order of their names, which is the same everywhere.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .expect("the folder of seeds")
        .map(|entry| entry.expect("a file"))
        .map(|entry| {
            (entry.file_name().into_string().expect("a name"), fs::read(entry.path()).expect("a seed"))
        })
        .collect();
    found.sort();
    assert!(found.len() > 10, "{} has {} seeds", folder.display(), found.len());
    found
}

/// The words of the fuzzer's dictionary.
fn words() -> Vec<Vec<u8>> {
    let text = include_str!("../../fuzz/requests.dict");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let words: Vec<Vec<u8>> = lines.map(|line| unescaped(line.trim_matches('"').as_bytes(), line)).collect();
    assert!(words.len() > 100);
    words
}

fn unescaped(mut text: &[u8], line: &str) -> Vec<u8> {
    let mut word = Vec::new();
    while let Some((first, rest)) = text.split_first() {
        text = match (first, rest) {
            (b'\\', [b'x', digits @ ..]) if digits.len() >= 2 => {
                let (hex, rest) = digits.split_at(2);
                let hex = std::str::from_utf8(hex).expect("two digits");
                word.push(u8::from_str_radix(hex, 16).unwrap_or_else(|_| panic!("{line}")));
                rest
            }
            (b'\\', [escaped, rest @ ..]) => {
                word.push(*escaped);
                rest
            }
            _ => {
                word.push(*first);
                rest
            }
        };
    }
    word
}

fn mutated(seeds: &[(String, Vec<u8>)], words: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut data = seeds[rng.usize(..seeds.len())].1.clone();
    for _ in 0..rng.usize(1..=STEPS).min(rng.usize(1..=STEPS)) {
        if rng.bool() { change_a_value(&mut data, words, rng) } else { damage(&mut data, seeds, words, rng) }
    }
    data.truncate(LONGEST);
    data
}

/// Most of these leave a request that can be read.
fn change_a_value(data: &mut Vec<u8>, words: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.usize(..=data.len());
    let find = |wanted: fn(&u8) -> bool| data[at..].iter().position(wanted).map(|found| at + found);
    match rng.u8(..4) {
        0 => {
            if let Some(digit) = find(u8::is_ascii_digit) {
                data[digit] = rng.u8(b'0'..=b'9');
            }
        }
        1 => {
            if let Some(digit) = find(u8::is_ascii_digit) {
                data.insert(digit, rng.u8(b'0'..=b'9'));
            }
        }
        2 => {
            if let Some(sign) = find(|byte| b",:{}[]".contains(byte)) {
                data.insert(sign, b' ');
            }
        }
        _ => {
            let Some(open) = find(|byte| *byte == b'"') else { return };
            let Some(len) = data[open + 1..].iter().position(|byte| *byte == b'"') else { return };
            let is_text =
                |word: &&Vec<u8>| word.len() > 2 && word.starts_with(b"\"") && word.ends_with(b"\"");
            let word = rng.choice(words.iter().filter(is_text).collect::<Vec<_>>());
            drop(data.splice(open..=open + 1 + len, word.into_iter().flatten().copied()));
        }
    }
}

fn damage(data: &mut Vec<u8>, seeds: &[(String, Vec<u8>)], words: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.usize(..=data.len());
    let end = (at + rng.usize(1..=16)).min(data.len());
    match rng.u8(..10) {
        0 => data.truncate(at),
        1 => drop(data.drain(at..end)),
        2 => data[at..end].fill(rng.u8(..)),
        3 if at < data.len() => data[at] ^= 1 << rng.u8(..8),
        4 => data.insert(at, rng.u8(..)),
        5 => data.insert(at, rng.choice(b"0123456789.eE+-\"\\,:{}[] ".iter().copied()).unwrap_or(b'0')),
        6 => drop(data.splice(at..end, rng.choice(words).into_iter().flatten().copied())),
        7 => drop(data.splice(at..at, rng.choice(words).into_iter().flatten().copied())),
        8 => {
            let again = data[at..end].to_vec();
            drop(data.splice(at..at, again));
        }
        _ => {
            let other = &seeds[rng.usize(..seeds.len())].1;
            let from = rng.usize(..=other.len());
            let to = (from + rng.usize(1..=64)).min(other.len());
            drop(data.splice(at..end, other[from..to].iter().copied()));
        }
    }
}
