#!/usr/bin/env bash
# Fuzzes the decoders (docs/fuzzing.md): scripts/fuzz.sh wire 60000000, scripts/fuzz.sh entry 45000000. Further
# arguments go to libFuzzer, such as -seed=7. Installs cargo-fuzz; needs Rust's nightly and a C++ compiler. With COMPARES=yes
# comparisons are followed, too: half as fast, and the better start for an empty corpus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

target=${1:-}
runs=${2:-1000000}
case $target in wire | entry) ;; *) die "scripts/fuzz.sh wire|entry [runs] [libFuzzer's arguments]" ;; esac
shift $(($# < 2 ? $# : 2))

need_rust
rustc +nightly --version >/dev/null 2>&1 || die "Rust's nightly is needed; run:" "rustup toolchain install nightly"
if ! have c++; then
    is_debian || die "a C++ compiler is needed"
    apt_install "libFuzzer is compiled with a C++ compiler" g++
fi
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked

# Without the address sanitizer: the decoders have no unsafe code.
build=(-s none)
if [ "${COMPARES:-}" != yes ]; then build+=(--no-trace-compares); fi
mkdir -p "fuzz/corpus/$target"
exec nice -n 19 cargo +nightly fuzz run "${build[@]}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -dict=fuzz/requests.dict -max_len=768 -len_control=0 -timeout=60 -rss_limit_mb=2048 \
    -print_final_stats=1 -runs="$runs" "$@"
