//! An order-execution worker driven by Redis Streams: never lost, never twice.
//!
//! Who may import whom, checked by a test (`tests/it/import_rules.rs`):
//!
//! | module | may import |
//! |---|---|
//! | `domain` | nothing of this crate; it is pure and synchronous |
//! | `wire` | `domain` |
//! | `ports` | `domain` |
//! | `engine` | `domain`, `ports`, `wire` |
//! | `workers`, `api` | `engine`, `ports`, `domain`, `wire`, `runtime` |
//! | `adapters` | `domain`, `ports`, `wire`, and never each other |
//! | `exchange` | `domain`, `runtime` |
//! | `config` | nothing of this crate; it is plain data |
//! | `runtime` | nothing of this crate |
//! | `app`, `cli` | everything |
//! | `crash`, `planted` | nothing of this crate; every module may import them |

pub mod adapters;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod crash;
pub mod domain;
pub mod engine;
pub mod exchange;
pub mod planted;
pub mod ports;
pub mod runtime;
pub mod wire;
pub mod workers;
