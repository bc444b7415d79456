//! Arguments, configuration, command, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    order_execution::cli::run()
}
