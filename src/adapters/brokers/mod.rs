//! Brokers.

pub mod simulated;
