# shellcheck shell=bash
# Set-up shared by the scripts beside this file, which source it. Each `need_…` returns when the thing is
# there: it installs what is missing on Debian and Ubuntu, telling what and why, and elsewhere says what is
# needed and ends the script. Nothing here asks a question.

say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$1" >&2
    shift
    if [ "$#" -gt 0 ]; then printf '       %s\n' "$@" >&2; fi
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_debian() {
    have apt-get && [ -r /etc/os-release ] && grep -Eq '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release
}

has_systemd() { [ -d /run/systemd/system ] && have systemctl; }

# Asked here, once: commands below have their input redirected.
if [ -t 0 ]; then has_terminal=yes; else has_terminal=no; fi

# Without a terminal sudo must not wait for a password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif [ "$has_terminal" = yes ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# apt_install WHY PACKAGE…
apt_install() {
    local why=$1
    shift
    local install=(apt-get install --yes --no-install-recommends "$@")
    local by_hand="apt-get update && ${install[*]}"

    say "$why"
    if [ "$(id -u)" -ne 0 ] && ! have sudo; then
        die "not root, and there is no sudo; as root, run:" "$by_hand"
    fi
    say "installing with apt: $*"
    local apt=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1)
    local wait_for_lock=(-o DPkg::Lock::Timeout=300)
    as_root "${apt[@]}" apt-get update --quiet "${wait_for_lock[@]}" </dev/null >&2 ||
        say "the package lists could not be updated; trying with those that are there"
    as_root "${apt[@]}" "${install[@]}" --quiet "${wait_for_lock[@]}" </dev/null >&2 ||
        die "the installation failed; to do it by hand, as root, run:" "$by_hand"
}

# version_at_least FOUND WANTED
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

need_rust() {
    # A shell older than rustup's installation does not have it on the PATH yet.
    if ! have cargo && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    if ! have cargo || ! have rustc; then
        die "Rust $wanted or newer is needed; to install it, run:" \
            "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    fi
    found=$(rustc --version | cut -d ' ' -f 2)
    if version_at_least "$found" "$wanted"; then return; fi
    if have rustup; then
        die "Rust $wanted or newer is needed, this is $found; run:" "rustup update stable"
    fi
    die "Rust $wanted or newer is needed, this is $found, of the system's packages; beside it, run:" \
        "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
}

# need_cargo_command COMMAND COMPONENT
need_cargo_command() {
    if cargo "$1" --version >/dev/null 2>&1; then return; fi
    have rustup || die "cargo $1 is missing: install $2 as you installed Rust"
    say "cargo $1 is missing: adding $2 with rustup"
    rustup component add "$2" >&2
}

# Whether a program that uses the C library can be built: a compiler without its headers is not enough.
can_compile_c() {
    have cc && printf '#include <stdio.h>\nint main(void) { return 0; }\n' | cc -x c -o /dev/null - 2>/dev/null
}

need_c_compiler() {
    if can_compile_c; then return; fi
    if is_debian; then
        apt_install "a C compiler is missing; Rust links with it, and SQLite is built by it" gcc libc6-dev
        can_compile_c || die "the C compiler was installed, and still cc cannot build a program"
        return
    fi
    die "a C compiler is missing; Rust links with it, and SQLite is built by it:" \
        "Fedora: sudo dnf install gcc" "Arch: sudo pacman -S gcc" "macOS: xcode-select --install"
}

# $1 = program: a server of one's own is needed, whatever REDIS_URL says (the tests stop and kill it).
need_redis() {
    if have redis-server || have valkey-server; then return; fi
    if [ "${1:-}" != program ] && [ -n "${REDIS_URL:-}" ]; then return; fi
    if is_debian; then
        install_redis
        have redis-server || die "redis-server was installed, and still is not on the PATH"
        return
    fi
    die "no Redis: set REDIS_URL to one that may be used, or install a server:" \
        "Fedora: sudo dnf install valkey" "Arch: sudo pacman -S valkey" "macOS: brew install redis"
}

# Only the program is wanted; a private server is started from it where one is needed. Debian's package also
# starts a service on port 6379, now and at every boot: with systemd its unit is masked while the package is
# installed, and left disabled.
install_redis() {
    local why="a Redis server is missing (no REDIS_URL, no redis-server or valkey-server on the PATH)"
    local unit=redis-server.service
    if ! has_systemd; then
        apt_install "$why" redis-server
        # An init script ran, unless the machine's policy forbids that, as in container images.
        if [ ! -x /usr/sbin/policy-rc.d ] && have invoke-rc.d; then
            say "stopping the service that the package started; only its program is needed"
            as_root invoke-rc.d redis-server stop >&2 || true
        fi
        return
    fi
    say "the package's own service ($unit) will not be started, nor at boot; to have it:" \
        "sudo systemctl enable --now $unit"
    as_root systemctl mask --runtime --quiet "$unit" >&2 || true
    # A subshell, so that the mask is lifted again whatever becomes of the installation.
    local status=0
    (apt_install "$why" redis-server) || status=$?
    as_root systemctl unmask --runtime --quiet "$unit" >&2 || true
    if [ "$status" -ne 0 ]; then exit "$status"; fi
    as_root systemctl disable --now --quiet "$unit" >&2 || true
}

# Where the tests look for it, too: packages keep the programs of a server off the PATH.
has_postgres() {
    local folder
    for folder in /usr/lib/postgresql/*/bin; do
        if [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ]; then return 0; fi
    done
    have initdb && have postgres
}

# The programs of a PostgreSQL server, whatever DATABASE_URL says: the tests stop and kill theirs.
need_postgres() {
    if has_postgres; then return; fi
    if is_debian; then
        install_postgres
        has_postgres || die "postgresql was installed, and still initdb and postgres are not there"
        return
    fi
    die "the programs initdb and postgres are missing; install PostgreSQL (the service is not needed):" \
        "Fedora: sudo dnf install postgresql-server" "Arch: sudo pacman -S postgresql" \
        "macOS: brew install postgresql@17, and its bin folder on the PATH"
}

# Only the programs are wanted; the tests start private servers from them. Debian's package also makes a cluster
# and starts it, now and at every boot, unless its configuration says otherwise, which it does while the
# package is installed.
install_postgres() {
    local why="a PostgreSQL server is missing (no initdb and postgres under /usr/lib/postgresql or on the PATH)"
    local conf=/etc/postgresql-common/createcluster.conf
    apt_install "$why; first what its package is configured by" postgresql-common
    say "no cluster will be made, and no service started; to have one: sudo pg_createcluster --start <version> main"
    local before
    before=$(mktemp)
    if [ -e "$conf" ]; then cp "$conf" "$before"; fi
    as_root sh -c "{ sed '/^[#[:space:]]*create_main_cluster/d' '$before'; echo 'create_main_cluster = false'; } >'$conf'"
    # A subshell, so that the configuration is put back whatever becomes of the installation.
    local status=0
    (apt_install "$why" postgresql) || status=$?
    as_root sh -c "cat '$before' >'$conf'"
    rm -f "$before"
    if [ "$status" -ne 0 ]; then exit "$status"; fi
}

# Only for root, who may make network namespaces; the test says itself that it is skipped where it is.
prepare_iproute2() {
    if [ "$(id -u)" -ne 0 ] || have ip; then return 0; fi
    try_apt_install "ip is missing; the test of cut networks makes them with it" iproute2 ||
        say "SKIPPED: the test of cut networks"
}

# The tools that the examples run with and the types are generated by, under target/tools, exactly those that are
# named in examples/ and scripts/. Without them the tests that need them are skipped; nothing ends because of it.
# Exports TEST_PYTHON (the interpreter) and TEST_NODE (the folder with node_modules) where they are there.
prepare_tools() {
    local tools=${CARGO_TARGET_DIR:-target}/tools
    mkdir -p "$tools"
    tools=$(cd "$tools" && pwd)
    if prepare_python "$tools/python"; then
        export TEST_PYTHON=$tools/python/bin/python
    else
        say "SKIPPED: the tests of the Python example and types"
    fi
    if prepare_node "$tools/node"; then
        export TEST_NODE=$tools/node
    else
        say "SKIPPED: the tests of the TypeScript example and types"
    fi
}

# apt_install that comes back where it fails.
try_apt_install() {
    is_debian || { say "$1"; return 1; }
    (apt_install "$@")
}

python_is_new() { python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# prepare_python FOLDER: a virtual environment with what the requirements name.
prepare_python() {
    local folder=$1 wanted="examples/requirements.txt scripts/types-requirements.txt"
    # shellcheck disable=SC2086
    if cat $wanted | cmp -s - "$folder/installed" && "$folder/bin/python" -c ''; then return 0; fi
    if ! have python3 || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        try_apt_install "python3 with venv is missing; an example runs with it" python3-venv || return 1
    fi
    python_is_new || { say "Python 3.11 or newer is needed, this is $(python3 --version)"; return 1; }
    say "installing into $folder: $(sed 's/#.*//' $wanted | tr '\n' ' ')"
    rm -rf "$folder"
    python3 -m venv "$folder" >&2 &&
        "$folder/bin/pip" install --quiet --disable-pip-version-check -r examples/requirements.txt \
            -r scripts/types-requirements.txt </dev/null >&2 || return 1
    # shellcheck disable=SC2086
    cat $wanted >"$folder/installed"
}

node_is_new() { have node && version_at_least "$(node --version | tr -d v)" 20; }

# prepare_node FOLDER: what the lock file of the examples names.
prepare_node() {
    local folder=$1
    if cmp -s examples/package-lock.json "$folder/installed" && node_is_new; then return 0; fi
    if ! have node || ! have npm; then
        try_apt_install "node with npm is missing; an example runs with it" nodejs npm || return 1
    fi
    node_is_new || { say "Node 20 or newer is needed, this is $(node --version)"; return 1; }
    say "installing into $folder what examples/package-lock.json names"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp examples/package.json examples/package-lock.json "$folder/"
    (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error </dev/null >&2) || return 1
    cp examples/package-lock.json "$folder/installed"
}
