#!/usr/bin/env bash
# Makes the images that Dockerfile and docker-compose.yml begin with, from Debian's packages and this machine's Rust,
# for a place from which no image registry can be reached. Where one can be, leave this alone: the official images
# are pulled by themselves.
#
#   scripts/base-images.sh [run|build|redis|postgres]…     all of them where none is named
#
# They get the names that the Dockerfile and docker-compose.yml ask for, or those that RUN_IMAGE, BUILD_IMAGE,
# REDIS_IMAGE, POSTGRES_IMAGE give. An image of that name that was not made here is never replaced. What is there
# already stays; REBUILD=yes makes it anew, with the run image below it. Needs root, a Docker daemon, and on the machine
# debootstrap, Rust, and a Debian bookworm's apt (or DEBIAN_MIRROR, DEBIAN_SECURITY).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

SUITE=bookworm
# repository_of CODENAME: where this machine's apt has it from.
repository_of() {
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $1" 'Component: main' | sort -u | tail -n 1
}
MIRROR=${DEBIAN_MIRROR:-$(repository_of "$SUITE")}
SECURITY=${DEBIAN_SECURITY:-$(repository_of "$SUITE-security")}
# Tells an image made here from an official one of the same name.
LABEL=order-execution.stand-in

# The one place where a name stands is the file that uses it.
default_of() { sed -n "s/^ARG $1=//p" Dockerfile; }
service_image() { sed -n "s/.*\${$1:-\([^}]*\)}.*/\1/p" docker-compose.yml; }
RUN_IMAGE=${RUN_IMAGE:-$(default_of RUN_IMAGE)}
BUILD_IMAGE=${BUILD_IMAGE:-$(default_of BUILD_IMAGE)}
REDIS_IMAGE=${REDIS_IMAGE:-$(service_image REDIS_IMAGE)}
POSTGRES_IMAGE=${POSTGRES_IMAGE:-$(service_image POSTGRES_IMAGE)}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

made=()
# Whether there is nothing to do for an image of this name.
is_there() {
    local label
    if [[ " ${made[*]} " = *" $1 "* ]]; then return 0; fi
    made+=("$1")
    label=$(docker image inspect --format "{{index .Config.Labels \"$LABEL\"}}" "$1" 2>/dev/null) || return 1
    if [ "$label" != yes ]; then
        say "$1 is there, and was not made here: it stays as it is"
        return 0
    fi
    if [ "${REBUILD:-}" = yes ]; then return 1; fi
    say "$1 is there"
}

# build NAME CONTEXT: with the Dockerfile on standard input. The machine's network, since a machine that reaches no
# registry often has no other way to the packages either.
build() { docker build --quiet --network host --label "$LABEL=yes" --tag "$1" --file - "$2" >/dev/null; }

run_image() {
    if is_there "$RUN_IMAGE"; then return; fi
    have debootstrap || apt_install "debootstrap is missing; it makes a Debian out of packages" debootstrap
    [ "$(id -u)" -eq 0 ] || die "debootstrap needs root"
    [ -n "$MIRROR" ] || die "this machine's apt knows no Debian $SUITE: name a mirror in DEBIAN_MIRROR (and DEBIAN_SECURITY)"
    say "$RUN_IMAGE: Debian $SUITE out of $MIRROR"
    debootstrap --variant=minbase "$SUITE" "$scratch/debian" "$MIRROR" >"$scratch/log" 2>&1 || {
        tail -n 20 "$scratch/log" >&2
        die "debootstrap failed"
    }
    # As the slim images do: no package files, lists, logs, nor documentation.
    rm -rf "$scratch"/debian/var/{cache/apt/archives/*.deb,cache/apt/*.bin,lib/apt/lists/*,log/*.log} \
        "$scratch"/debian/usr/share/{doc,man,info,locale}/*
    printf 'path-exclude /usr/share/%s/*\n' doc man info locale >"$scratch/debian/etc/dpkg/dpkg.cfg.d/slim"
    printf 'deb %s %s main\n' "$MIRROR" "$SUITE" "$MIRROR" "$SUITE-updates" ${SECURITY:+"$SECURITY" "$SUITE-security"} \
        >"$scratch/debian/etc/apt/sources.list"
    # apt keeps nothing of what it fetched, in images that are made of this one either.
    printf '%s\n' 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };' \
        'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";' >"$scratch/debian/etc/apt/apt.conf.d/docker-clean"
    rm -f "$scratch/debian/etc/resolv.conf"
    tar --create --directory "$scratch/debian" --one-file-system . |
        docker import --change 'CMD ["bash"]' --change "LABEL $LABEL=yes" - "$RUN_IMAGE" >/dev/null
    rm -rf "$scratch/debian"
}

# The toolchain of this machine, laid out as one sysroot; rustup is not needed to run it.
build_image() {
    if is_there "$BUILD_IMAGE"; then return; fi
    run_image
    need_rust
    local sysroot version tag
    sysroot=$(rustc --print sysroot)
    version=$(rustc --version | cut -d ' ' -f 2)
    tag=${BUILD_IMAGE##*:}
    case $tag in
    [0-9]*.[0-9]*-*)
        [[ "$version." = "${tag%%-*}".* ]] ||
            die "this machine's Rust is $version, the image is to be $BUILD_IMAGE" \
                "give it its name: BUILD_IMAGE=rust:${version%.*}-$SUITE, here and as --build-arg"
        ;;
    esac
    say "$BUILD_IMAGE: $RUN_IMAGE with gcc and Rust $version of $sysroot"
    mkdir -p "$scratch/build/rust/bin" "$scratch/build/certificates"
    cp -a "$sysroot/bin/cargo" "$sysroot/bin/rustc" "$scratch/build/rust/bin/"
    tar --create --directory "$sysroot" --exclude 'lib/rustlib/src' lib | tar --extract --directory "$scratch/build/rust"
    # Who is behind a proxy that speaks for others trusts it by these.
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$scratch/build/certificates/" \; 2>/dev/null || true
    build "$BUILD_IMAGE" "$scratch/build" <<EOF
FROM $RUN_IMAGE
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev make \
 && rm -rf /var/lib/apt/lists/*
COPY certificates/ /usr/local/share/ca-certificates/
RUN update-ca-certificates
COPY rust/ /usr/local/
ENV CARGO_HOME=/usr/local/cargo
RUN mkdir -p /usr/local/cargo && rustc --version && cargo --version
EOF
    rm -rf "$scratch/build"
}

# What the official image does: as root, hand the data to the user redis; then run as that user. A container that is
# started as another user runs as that one.
redis_image() {
    if is_there "$REDIS_IMAGE"; then return; fi
    run_image
    say "$REDIS_IMAGE: $RUN_IMAGE with Debian's redis-server"
    mkdir -p "$scratch/redis"
    cat >"$scratch/redis/docker-entrypoint.sh" <<'EOF'
#!/bin/sh
set -e
case "$1" in -* | *.conf) set -- redis-server "$@" ;; esac
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    find . ! -user redis -exec chown redis {} +
    exec setpriv --reuid redis --regid redis --clear-groups "$0" "$@"
fi
umask 0077
exec "$@"
EOF
    build "$REDIS_IMAGE" "$scratch/redis" <<EOF
FROM $RUN_IMAGE
RUN groupadd --system --gid 999 redis && useradd --system --gid redis --uid 999 --home-dir /data redis \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/* && mkdir -p /data && chown redis:redis /data
COPY --chmod=755 docker-entrypoint.sh /usr/local/bin/
VOLUME /data
WORKDIR /data
EXPOSE 6379
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["redis-server", "--protected-mode", "no"]
EOF
}

# Of the official image's entry point: POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB, POSTGRES_INITDB_ARGS, each also
# as …_FILE; POSTGRES_HOST_AUTH_METHOD; PGDATA; /docker-entrypoint-initdb.d with *.sql and *.sh.
postgres_image() {
    if is_there "$POSTGRES_IMAGE"; then return; fi
    run_image
    say "$POSTGRES_IMAGE: $RUN_IMAGE with Debian's postgresql-15"
    mkdir -p "$scratch/postgres"
    cat >"$scratch/postgres/docker-entrypoint.sh" <<'EOF'
#!/usr/bin/env bash
set -euo pipefail

from_file() {
    local file="${1}_FILE"
    if [ -n "${!1:-}" ] && [ -n "${!file:-}" ]; then
        echo "error: both $1 and $file are set" >&2
        exit 1
    fi
    if [ -n "${!file:-}" ]; then export "$1=$(<"${!file}")"; fi
    unset "$file"
}

initialize() {
    local user=${POSTGRES_USER:-postgres} method=${POSTGRES_HOST_AUTH_METHOD:-}
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
        echo "error: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE to a password for the superuser" >&2
        exit 1
    fi
    local arguments=()
    if [ -n "${POSTGRES_INITDB_ARGS:-}" ]; then read -ra arguments <<<"$POSTGRES_INITDB_ARGS"; fi
    initdb --username="$user" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-unused}") "${arguments[@]}"
    printf '\nhost all all all %s\n' "${method:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
    # No network until all is made: who can connect finds it whole.
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    local database=${POSTGRES_DB:-$user}
    local psql=(psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --username "$user")
    if [ "$database" != postgres ]; then
        "${psql[@]}" --dbname postgres --set db="$database" <<<'CREATE DATABASE :"db";'
    fi
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
        *.sh) source "$script" ;;
        *.sql) "${psql[@]}" --dbname "$database" --file "$script" ;;
        esac
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
    unset PGPASSWORD POSTGRES_PASSWORD
}

case "${1:-}" in -*) set -- postgres "$@" ;; esac
if [ "${1:-}" = postgres ]; then
    if [ "$(id -u)" = 0 ]; then
        mkdir -p "$PGDATA" /var/run/postgresql
        find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres {} +
        exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
    fi
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA" 2>/dev/null || true
    for name in POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB POSTGRES_INITDB_ARGS; do from_file "$name"; done
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        initialize
        echo "PostgreSQL init process complete; ready for start up."
    fi
fi
exec "$@"
EOF
    # The user comes before the package, which would give it a number of its own.
    build "$POSTGRES_IMAGE" "$scratch/postgres" <<EOF
FROM $RUN_IMAGE
RUN groupadd --system --gid 999 postgres \
 && useradd --system --gid postgres --uid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres \
 && mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends postgresql-15 \
 && rm -rf /var/lib/apt/lists/* \
 && sed -i "s/^#listen_addresses = 'localhost'/listen_addresses = '*'/" /usr/share/postgresql/15/postgresql.conf.sample \
 && grep -q "^listen_addresses = '\*'" /usr/share/postgresql/15/postgresql.conf.sample \
 && mkdir -p /docker-entrypoint-initdb.d /var/lib/postgresql/data /var/run/postgresql \
 && chown -R postgres:postgres /var/lib/postgresql /var/run/postgresql \
 && chmod 1777 /var/lib/postgresql/data && chmod 3777 /var/run/postgresql
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 PG_MAJOR=15 PGDATA=/var/lib/postgresql/data
COPY --chmod=755 docker-entrypoint.sh /usr/local/bin/
VOLUME /var/lib/postgresql/data
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
EOF
}

have docker || die "the docker client is missing"
docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || die "no Docker daemon answers (see DOCKER_HOST)"
if [ "$#" -eq 0 ]; then set -- run build redis postgres; fi
for image in "$@"; do
    case $image in
    run | build | redis | postgres) "${image}_image" ;;
    *) die "no such image: $image" "there are: run build redis postgres" ;;
    esac
done
