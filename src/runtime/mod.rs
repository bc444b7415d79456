//! What every long-running command needs: logs, metrics, health, an orderly end.

pub mod health;
pub mod metrics;
pub mod private_redis;
pub mod shutdown;
pub mod telemetry;
