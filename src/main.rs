//! Arguments, configuration, command, exit code.

use std::process::ExitCode;

/// Orders are many small allocations that cross threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    order_execution::cli::run()
}
