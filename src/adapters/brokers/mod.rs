//! Brokers.

pub mod simulated;

#[cfg(test)]
mod tests;
