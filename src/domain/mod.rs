//! The core: pure and synchronous. No clock, no randomness, no logging, no input or output.

pub mod amount;
pub mod circuit;
pub mod contract;
pub mod control;
pub mod decide;
pub mod event;
pub mod ids;
pub mod instrument;
pub mod ledger;
pub mod market;
pub mod order;
pub mod order_type;
pub mod position;
pub mod profile;
pub mod rebuild;
pub mod reconcile;
pub mod refusal;
pub mod report;
pub mod request;
pub mod reservation;
pub mod risk;
pub mod status;
pub mod time;
pub mod trade;
pub mod trading_state;
pub mod venue;
