//! What people and other programs can ask. It only reads.

pub mod http;
pub mod pnl;
pub mod position;
pub mod risk;
