#!/usr/bin/env bash
# Builds and runs the demonstration; until Ctrl-C, or with --once until all has happened.
# Installs what is missing for that (see lib.sh). Arguments go to `order-execution demo`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

need_rust
need_c_compiler
need_redis

say "building (the first time takes some minutes)"
cargo build --release --locked

exec "${CARGO_TARGET_DIR:-target}/release/order-execution" demo "$@"
