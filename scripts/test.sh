#!/usr/bin/env bash
# Formatting, lints, and the whole test suite, a choice of crash points and a minute's soak included. Installs
# what is missing for that (see lib.sh), and the tools of the examples under target/tools. Arguments go to `cargo test`: scripts/test.sh some_behaviour
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

need_rust
need_cargo_command fmt rustfmt
need_cargo_command clippy clippy
need_c_compiler
need_redis program
prepare_tools
have python3 || say "there is no python3: tests of Python producers are skipped"

say "formatting"
cargo fmt --check
say "lints"
cargo clippy --locked --all-targets --all-features -- -D warnings
say "tests"
cargo test --locked --all-features "$@" </dev/null
