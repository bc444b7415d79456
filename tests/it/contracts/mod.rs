//! The ports' contracts (`tests/contracts/`) against what the program is built of.

mod broker;
mod journal;
mod streams;
