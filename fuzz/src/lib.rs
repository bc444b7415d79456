//! The decoders alone, of the program's own source files: fuzzing need not build its databases and servers. The program's
//! manifest names this as an example, so that whoever moves a file sees at once that this must follow.

#![allow(dead_code, reason = "what the decoders do not need of the shared files")]

#[path = "../../src/domain/mod.rs"]
pub mod domain;
#[path = "../../src/planted.rs"]
pub mod planted;
#[path = "../../src/adapters/redis/raw.rs"]
mod raw;
#[path = "../../src/wire/mod.rs"]
pub mod wire;

pub mod adapters {
    pub mod redis {
        pub use crate::raw::{entries, pairs};
    }
}
