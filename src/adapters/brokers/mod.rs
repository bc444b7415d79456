//! Brokers.

pub mod exchange;
pub mod simulated;

#[cfg(test)]
mod tests;
