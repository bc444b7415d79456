//! The decoders alone, of the program's own source files: fuzzing need not build its databases and servers.

#[path = "../../src/domain/mod.rs"]
pub mod domain;
#[path = "../../src/adapters/redis/raw.rs"]
mod raw;
#[path = "../../src/wire/mod.rs"]
pub mod wire;

pub mod adapters {
    pub mod redis {
        pub use crate::raw::{entries, pairs};
    }
}
