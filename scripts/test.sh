#!/usr/bin/env bash
# Formatting, lints, and the whole test suite, a choice of crash points and a minute's soak included; then what a
# journal matters to once more, on PostgreSQL. Installs what is missing for that (see lib.sh), and the tools of the
# examples under target/tools. Arguments go to `cargo test`: scripts/test.sh some_behaviour
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

need_rust
need_cargo_command fmt rustfmt
need_cargo_command clippy clippy
need_c_compiler
need_redis program
need_postgres
prepare_iproute2
prepare_tools
have python3 || say "there is no python3: tests of Python producers are skipped"

say "formatting"
cargo fmt --check
say "lints"
cargo clippy --locked --all-targets --all-features -- -D warnings
say "tests, the journal on SQLite"
cargo test --locked --all-features "$@" </dev/null

# Modules of tests/it that would do the same again: they touch no journal, or choose the database themselves.
same_again="bench containers examples exchange harness import_rules logs postgres schemas watch"
words=("$@")
case " $* " in
    *" -- "*) ;;
    *) words+=(--) ;;
esac
for module in $same_again; do words+=(--skip "$module::"); done
say "tests, the journal on PostgreSQL"
TEST_JOURNAL=postgres cargo test --locked --all-features --test it "${words[@]}" </dev/null
