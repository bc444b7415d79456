//! The order state scenarios of the FIX Trading Community, restated in `tests/data/fix`, against the domain.

mod beyond;
mod data;
mod replay;
mod vectors;
pub(in crate::domain::decide::tests) mod words;

use std::fmt::Write;

use super::*;

/// A test for each case, which is named as the data name it.
macro_rules! cases {
    ($($test:ident: $case:literal,)*) => {
        const CASES: &[&str] = &[$($case),*];

        $(#[test]
        fn $test() {
            run($case);
        })*
    };
}

cases! {
    a_1_a_instead_of_2: "A.1.a instead of 2",
    a_1_a_instead_of_3: "A.1.a instead of 3",
    a_1_a: "A.1.a",
    b_1_a_instead_of_2: "B.1.a instead of 2",
    b_1_a_instead_of_4: "B.1.a instead of 4",
    b_1_a_instead_of_5: "B.1.a instead of 5",
    b_1_a: "B.1.a",
    b_1_b_instead_of_2: "B.1.b instead of 2",
    b_1_b_instead_of_5_told_first: "B.1.b instead of 5, told first",
    b_1_b_instead_of_5_asked_first: "B.1.b instead of 5, asked first",
    b_1_b_instead_of_7_told_first: "B.1.b instead of 7, told first",
    b_1_b_instead_of_7_asked_first: "B.1.b instead of 7, asked first",
    b_1_b_told_first: "B.1.b, told first",
    b_1_b_asked_first: "B.1.b, asked first",
    b_1_d: "B.1.d",
    b_1_f: "B.1.f",
    c_1_a_instead_of_2: "C.1.a instead of 2",
    c_1_a_instead_of_4: "C.1.a instead of 4",
    c_1_a_instead_of_5: "C.1.a instead of 5",
    c_1_a: "C.1.a",
    c_1_c_instead_of_2: "C.1.c instead of 2",
    c_1_c_instead_of_5: "C.1.c instead of 5",
    c_1_c_instead_of_6: "C.1.c instead of 6",
    c_1_c: "C.1.c",
    c_3_a_instead_of_2: "C.3.a instead of 2",
    c_3_a_instead_of_5_told_first: "C.3.a instead of 5, told first",
    c_3_a_instead_of_5_asked_first: "C.3.a instead of 5, asked first",
    c_3_a_instead_of_7_told_first: "C.3.a instead of 7, told first",
    c_3_a_instead_of_7_asked_first: "C.3.a instead of 7, asked first",
    c_3_a_told_first: "C.3.a, told first",
    c_3_a_asked_first: "C.3.a, asked first",
    c_3_b_instead_of_2: "C.3.b instead of 2",
    c_3_b_told_first: "C.3.b, told first",
    c_3_b_asked_first: "C.3.b, asked first",
    d_1_a_instead_of_2: "D.1.a instead of 2",
    d_1_a: "D.1.a",
    d_1_b_instead_of_2: "D.1.b instead of 2",
    d_1_b: "D.1.b",
    d_1_c_instead_of_2: "D.1.c instead of 2",
    d_1_c_instead_of_11: "D.1.c instead of 11",
    d_1_c: "D.1.c",
    d_2_d: "D.2.d",
    e_1_c_instead_of_2: "E.1.c instead of 2",
    e_1_c: "E.1.c",
    e_1_e_instead_of_2: "E.1.e instead of 2",
    e_1_e: "E.1.e",
    e_1_f_instead_of_2: "E.1.f instead of 2",
    e_1_f: "E.1.f",
    f_1_b: "F.1.b",
    g_1_a: "G.1.a",
    g_1_b_instead_of_2: "G.1.b instead of 2",
    g_1_b: "G.1.b",
    h_1_a: "H.1.a",
    h_1_c_instead_of_d2_3: "H.1.c instead of D2.3",
    h_1_c_instead_of_d2_4: "H.1.c instead of D2.4",
    h_1_c: "H.1.c",
    h_1_d_instead_of_d2_3: "H.1.d instead of D2.3",
    h_1_d_instead_of_d2_5: "H.1.d instead of D2.5",
    h_1_d: "H.1.d",
    i_1_b_instead_of_2: "I.1.b instead of 2",
    i_1_b: "I.1.b",
    j_1_b: "J.1.b",
    j_1_c: "J.1.c",
    k_1_a_instead_of_2: "K.1.a instead of 2",
    k_1_a: "K.1.a",
    l_1_b_instead_of_2: "L.1.b instead of 2",
    l_1_b: "L.1.b",
    ex_a_1_b_instead_of_2: "EX.A.1.b instead of 2",
    ex_a_1_b: "EX.A.1.b",
    ex_a_1_d_instead_of_2: "EX.A.1.d instead of 2",
    ex_a_1_d: "EX.A.1.d",
    ex_i_1_a_instead_of_2: "EX.I.1.a instead of 2",
    ex_i_1_a_instead_of_5: "EX.I.1.a instead of 5",
    ex_i_1_a: "EX.I.1.a",
}

fn run(name: &str) {
    let mut cases = data::scenarios().into_iter().flat_map(|scenario| scenario.cases());
    let case = cases.find(|case| case.name == name);
    replay::replay(&case.unwrap_or_else(|| panic!("tests/data/fix has no case {name}")));
}

#[test]
fn every_case_of_the_data_has_a_test() {
    let cases = data::scenarios().into_iter().flat_map(|scenario| scenario.cases());
    let told: BTreeSet<_> = cases.map(|case| case.name).collect();
    let tested: BTreeSet<_> = CASES.iter().map(|case| (*case).to_owned()).collect();
    let untested: Vec<_> = told.difference(&tested).collect();
    assert!(untested.is_empty(), "add to cases!: {untested:?}");
    assert_eq!((told.len(), tested.len()), (CASES.len(), CASES.len()));
}

/// For the document: what is replayed.
pub(super) fn scenario_table() -> String {
    let mut out = "| scenario | what happens | cases |\n|---|---|---|".to_owned();
    for scenario in data::scenarios() {
        write!(out, "\n| {} | {} | {} |", scenario.id, scenario.title, scenario.cases().len()).unwrap();
    }
    out + "\n"
}

/// For the document: where our OrdStatus is another.
pub(super) fn difference_table() -> String {
    let mut out = "| scenario | at | FIX | ours | because |\n|---|---|---|---|---|".to_owned();
    for scenario in data::scenarios() {
        for row in scenario.rows.iter().filter(|row| row.theirs.is_some()) {
            let name = |status: Option<words::OrdStatus>| status.map(|status| format!("{status:?}"));
            let ours = row.then.as_ref().and_then(|then| name(then.fix)).unwrap_or("no such order".into());
            let theirs = name(row.theirs).unwrap_or_default();
            let because = row.because.as_deref().unwrap_or_default();
            write!(out, "\n| {} | {} | {theirs} | {ours} | {because} |", scenario.id, row.at).unwrap();
        }
    }
    out + "\n"
}
