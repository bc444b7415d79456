//! A whole entry of the stream, as Redis answers with it. What must hold is in `properties/`.
#![no_main]

#[path = "../properties/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each target takes one of the two")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    properties::check_entry(data);
});
