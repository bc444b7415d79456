//! The black-box suite: every test drives the built binary over a real Redis and reads what a producer,
//! an operator or a monitoring system would read. One file a behaviour; `harness/` holds what they share.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod harness;

#[path = "../contracts/mod.rs"]
mod contracts;

#[path = "contracts/mod.rs"]
mod ports;

mod bench;
mod cancel;
mod cli;
mod commands;
mod configuration;
mod containers;
mod crash;
mod decimals;
mod desk;
mod drain;
mod duplicates;
mod examples;
mod exchange;
mod flat_form;
mod fuzz;
mod http;
mod import_rules;
mod invalid_payloads;
mod kill_switch;
mod logs;
mod operator;
mod order_types;
mod outages;
mod positions;
mod postgres;
mod producers;
mod profiles;
mod recovery;
mod risk;
mod risk_apply;
mod risk_scopes;
mod schemas;
mod simulated_broker;
mod submit;
mod submit_file;
mod validation;
mod watch;
mod workers;
