//! The world outside, behind the traits of `ports`. Adapters never import each other.

pub mod journal;
