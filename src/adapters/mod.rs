//! The world outside, behind the traits of `ports`. Adapters never import each other.

pub mod brokers;
pub mod clock;
pub mod journal;
pub mod redis;
