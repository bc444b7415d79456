#!/usr/bin/env bash
# Tries Dockerfile and docker-compose.yml for real: builds the image, starts Redis, PostgreSQL and two workers under a
# project name, passwords and ports of their own, sends orders, kills and restarts what can be, and compares every
# request that Redis acknowledged with the outcomes, the position and the journal. Removes all it made.
#
#   scripts/containers.sh [--sqlite] [--no-build] [--keep]
#
#   --sqlite     the journal on SQLite (deploy/sqlite.yml)
#   --no-build   the image is there: WORKER_IMAGE, or order-execution:latest
#   --keep       leave everything running; says how to remove it
#
# Needs Docker with BuildKit, compose 2.24.4 or newer, and images that can be pulled or that scripts/base-images.sh
# made. BUILD_NETWORK=host builds with the machine's network. Exit code 0: all held; 1: something did not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

journal=postgres
build=yes
keep=no
while [ "$#" -gt 0 ]; do
    case $1 in
    --sqlite) journal=sqlite ;;
    --no-build) build=no ;;
    --keep) keep=yes ;;
    *) die "unknown: $1" "usage: scripts/containers.sh [--sqlite] [--no-build] [--keep]" ;;
    esac
    shift
done

have docker || die "the docker client is missing"
docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || die "no Docker daemon answers (see DOCKER_HOST)"
docker compose version --short >/dev/null 2>&1 || die "docker has no compose plugin"

scratch=$(mktemp -d)
# Requests in each of the two loads: enough for what happens to the containers to happen in the middle.
REQUESTS=${REQUESTS:-4000}
export COMPOSE_PROJECT_NAME=order-execution-smoke-$$
export SECRETS_DIR=$scratch/secrets CONFIG_DIR=$scratch/config
export HTTP_PORTS=${HTTP_PORTS:-19091-19119}
export WORKER_IMAGE=${WORKER_IMAGE:-order-execution:latest}
# What a developer's own settings say is not what is tried here.
unset COMPOSE_FILE COMPOSE_PROFILES APP_ENV
files=(--file docker-compose.yml)
if [ "$journal" = sqlite ]; then files+=(--file deploy/sqlite.yml); fi
compose() { docker compose --ansi never "${files[@]}" "$@"; }

clean_up() {
    local code=$?
    if [ "$code" -ne 0 ]; then
        say "the last of what the containers said:"
        compose logs --no-color --tail 5 >&2 2>/dev/null || true
    fi
    if [ "$keep" = yes ]; then
        say "left running; to remove it: docker compose -p $COMPOSE_PROJECT_NAME down --volumes; rm -r $scratch"
        return
    fi
    compose down --volumes --remove-orphans --timeout 40 >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap clean_up EXIT

checks=0
# holds WHAT COMMAND…: the command succeeds, or all ends here.
holds() {
    local what=$1
    shift
    if ! "$@"; then die "does not hold: $what"; fi
    checks=$((checks + 1))
    say "holds: $what"
}
# is WHAT FOUND EXPECTED
is() {
    if [ "$2" != "$3" ]; then die "does not hold: $1" "found:    $2" "expected: $3"; fi
    checks=$((checks + 1))
    say "holds: $1: $2"
}
# eventually SECONDS WHAT COMMAND…
eventually() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        if [ "$SECONDS" -ge "$deadline" ]; then die "in vain waited for: $what"; fi
        sleep 0.2
    done
}

# shellcheck disable=SC2016 # the password is read in the container
redis() { compose exec -T redis sh -c 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) exec redis-cli "$@"' - "$@"; }
workers() { compose ps --all --quiet worker; }
state_of() { docker inspect --format "{{.State.$2}}" "$1"; }
is_healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$1" 2>/dev/null)" = healthy ]; }
service_is_healthy() { is_healthy "$(compose ps --quiet "$1")"; }
start() {
    compose up --no-build --detach --wait --wait-timeout 240 >"$scratch/up" 2>&1 || {
        cat "$scratch/up" >&2
        die "not everything became healthy"
    }
}
# The command line in a container of its own, as an operator uses it. Its output alone.
cli() { compose run --rm --no-deps --no-TTY worker "$@" </dev/null 2>"$scratch/cli.err" || { cat "$scratch/cli.err" >&2; return 1; }; }

# add NAME COUNT: buys of 0.01, a hundred in a transaction, each acknowledged entry a line of `sent`.
add() {
    local n order
    for ((n = 0; n < $2; n++)); do
        if ((n % 100 == 0)); then echo MULTI; fi
        order="{\"client_order_id\":\"$1-$n\",\"symbol\":\"BTCUSDT\",\"side\":\"Buy\",\"quantity\":\"0.01\",\"order_type\":\"Market\"}"
        printf 'XADD orders:pending * order "%s"\n' "${order//\"/\\\"}"
        if ((n % 100 == 99 || n == $2 - 1)); then echo EXEC; fi
    done | redis | grep -E '^[0-9]+-[0-9]+$' >"$scratch/added"
    is "Redis acknowledged the $2 requests of $1" "$(wc -l <"$scratch/added")" "$2"
    cat "$scratch/added" >>"$scratch/sent"
}
outcomes() {
    local total=0 stream length
    for stream in orders:completed orders:failed; do
        length=$(redis XLEN $stream) || return 1
        total=$((total + length))
    done
    printf '%s' "$total"
}
have_outcomes() { [ "$(outcomes || echo 0)" -ge "$1" ]; }
requests_sent() { wc -l <"$scratch/sent"; }

# Every acknowledged request has one outcome and no other has any.
audit() {
    local count
    count=$(requests_sent)
    eventually 120 "$count outcomes" have_outcomes "$count"
    {
        redis XRANGE orders:completed - +
        redis XRANGE orders:failed - +
    } >"$scratch/streams"
    awk 'before == "entry_id" { print } { before = $0 }' "$scratch/streams" | sort >"$scratch/answered"
    sort "$scratch/sent" >"$scratch/asked"
    holds "$1: $count requests, one outcome each" cmp "$scratch/asked" "$scratch/answered"
    is "$1: requests that failed" "$(redis XLEN orders:failed)" 0
    is "$1: requests without outcome" "$(redis XLEN orders:pending)" 0
}

mkdir "$SECRETS_DIR" "$CONFIG_DIR"
deploy/secrets.sh "$SECRETS_DIR" >/dev/null
cp config/*.toml "$CONFIG_DIR/"
# Only the root of the file system is another's: the folder itself must be readable by the user of the container.
chmod 755 "$scratch" "$CONFIG_DIR"
# No limit is to end an order here, and a broker that takes its time leaves work in a worker's hands when it is killed.
cat >>"$CONFIG_DIR/production.toml" <<'EOF'

[worker]
batch_size = 16
max_in_flight = 32

[broker.mock]
latency_ms = 100

[[risk.limits]]
symbol = "*"
max_order_quantity = "unlimited"
max_order_notional = "unlimited"
max_position = "unlimited"
max_daily_loss = "unlimited"
price_collar_pct = "unlimited"
max_orders_per_second = "unlimited"
EOF

if [ "$build" = yes ]; then
    say "building $WORKER_IMAGE"
    docker build --network "${BUILD_NETWORK:-default}" --tag "$WORKER_IMAGE" \
        ${BUILD_IMAGE:+--build-arg "BUILD_IMAGE=$BUILD_IMAGE"} ${RUN_IMAGE:+--build-arg "RUN_IMAGE=$RUN_IMAGE"} . \
        >"$scratch/build" 2>&1 || {
        tail -n 40 "$scratch/build" >&2
        die "the image cannot be built"
    }
fi
say "$WORKER_IMAGE has $(($(docker image inspect --format '{{.Size}}' "$WORKER_IMAGE") / 1000000)) MB"

say "starting, journal on $journal"
start
is "workers that run" "$(workers | wc -l)" 2

mapfile -t both < <(workers)
first=${both[0]} second=${both[1]}
is "the user that the worker runs as" "$(docker exec "$first" id -u):$(docker exec "$first" id -g)" 10001:10001
is "capabilities that it could ever have" "$(docker exec "$first" grep ^CapBnd: /proc/1/status | cut -f 2)" 0000000000000000
is "and it can gain nothing" "$(docker exec "$first" grep ^NoNewPrivs: /proc/1/status | cut -f 2)" 1
is "process 1" "$(docker exec "$first" cat /proc/1/comm)" order-execution
writes() { docker exec "$1" touch "$2" 2>/dev/null; }
for file in /app/x /app/config/x /usr/local/bin/order-execution /etc/x; do
    if writes "$first" "$file"; then die "does not hold: $file cannot be written"; fi
done
say "holds: program, configuration and /etc cannot be written"
is "the root of its file system" "$(docker exec "$first" grep ' / ' /proc/mounts | cut -d ' ' -f 4 | cut -d , -f 1)" ro
mapfile -t containers < <(compose ps --quiet)
docker inspect --format '{{json .Config.Env}}' "${containers[@]}" >"$scratch/environments"
cat "$SECRETS_DIR"/*_password "$SECRETS_DIR/http_token" >"$scratch/passwords"
if grep -qF -f "$scratch/passwords" "$scratch/environments"; then die "does not hold: no password in an environment"; fi
say "holds: no password in an environment"
for container in "${containers[@]}"; do
    service=$(docker inspect --format '{{index .Config.Labels "com.docker.compose.service"}}' "$container")
    addresses=$(docker inspect --format '{{range .NetworkSettings.Ports}}{{range .}}{{println .HostIp}}{{end}}{{end}}' \
        "$container" | sort -u | paste -sd ' ' - | tr -d ' ')
    is "address of this machine at which a $service is served" "${addresses:-none}" \
        "$([ "$service" = worker ] && echo 127.0.0.1 || echo none)"
done
redis_is() { is "Redis: $1" "$(redis CONFIG GET "$1" | tail -n 1)" "$2"; }
redis_is appendonly yes
redis_is appendfsync always
redis_is maxmemory-policy noeviction
redis_is aof-load-truncated no
is "Redis without password" "$(compose exec -T redis redis-cli PING)" "NOAUTH Authentication required."
if have curl; then
    at=http://$(compose port worker 9091)
    answers() { curl --silent --output /dev/null --write-out '%{http_code}' --noproxy '*' "$@"; }
    is "/health/ready of this machine" "$(answers "$at/health/ready")" 200
    is "/api/orders without the token" "$(answers "$at/api/orders")" 401
    is "/api/orders with it" "$(answers -H "Authorization: Bearer $(<"$SECRETS_DIR/http_token")" "$at/api/orders")" 200
fi
holds "every dependency of a worker is reached (check)" docker exec "$first" order-execution check
holds "an order by the command line is filled" \
    cli submit --symbol BTCUSDT --side buy --quantity 0.01 --type market --client-order-id by-hand --wait
redis XRANGE orders:completed - + | awk 'before == "entry_id" { print } { before = $0 }' >"$scratch/sent"

# --- a worker killed in the middle ------------------------------------------------------------------------------
add killed "$REQUESTS"
eventually 60 "a tenth of them" have_outcomes $((REQUESTS / 10))
docker kill --signal KILL "$first" >/dev/null
at=$(outcomes)
holds "a worker was killed in the middle, at $at outcomes" [ "$at" -lt "$REQUESTS" ]
is "its exit code" "$(state_of "$first" ExitCode)" 137
audit "after a kill"
start

# --- a worker that dies by itself: Docker starts it again, which it does not after `docker kill` ----------------------
process=$(state_of "$second" Pid)
if [ "$(cat "/proc/$process/comm" 2>/dev/null)" = order-execution ] && kill -0 "$process" 2>/dev/null; then
    add died "$REQUESTS"
    eventually 60 "some of them" have_outcomes $(($(requests_sent) - REQUESTS + REQUESTS / 10))
    kill -KILL "$process"
    at=$(outcomes)
    holds "a worker died in the middle, at $at outcomes" [ "$at" -lt "$(requests_sent)" ]
    has_restarted() { [ "$(docker inspect --format '{{.RestartCount}}' "$second")" -eq 1 ] && is_healthy "$second"; }
    eventually 60 "it to be started again by itself, and healthy" has_restarted
    audit "after a crash"
else
    say "not tried: a worker that dies by itself (the daemon is on another machine, or this is not root)"
fi
restarts() { for worker in $(workers); do docker inspect --format '{{.RestartCount}}' "$worker"; done | paste -sd ' ' -; }
restarts=$(restarts)

# --- Redis and the journal restarted in the middle ----------------------------------------------------------------
add restarted "$REQUESTS"
before=$(requests_sent)
eventually 60 "some of them" have_outcomes $((before - REQUESTS + REQUESTS / 10))
compose restart redis >/dev/null 2>&1
eventually 120 "Redis to be healthy" service_is_healthy redis
if [ "$journal" = postgres ]; then
    eventually 60 "some more of them" have_outcomes $((before - REQUESTS + REQUESTS / 4))
    at=$(outcomes)
    holds "PostgreSQL is restarted in the middle, at $at outcomes" [ "$at" -lt "$before" ]
    compose restart postgres >/dev/null 2>&1
    eventually 120 "PostgreSQL to be healthy" service_is_healthy postgres
fi
audit "after restarts"
for worker in $(workers); do eventually 60 "a worker to be healthy again" is_healthy "$worker"; done
is "restarts of workers meanwhile" "$(restarts)" "$restarts"

# --- the health check sees what a worker needs ----------------------------------------------------------------------
docker pause "$(compose ps --quiet redis)" >/dev/null
says_why() { [[ $(docker exec "$first" order-execution health) = "not ready: "*redis* ]]; }
says_ready() { docker exec "$first" order-execution health >/dev/null 2>&1; }
eventually 30 "the health check to say that Redis is away" says_why
docker unpause "$(compose ps --quiet redis)" >/dev/null
eventually 60 "the health check to say that it is back" says_ready
eventually 60 "Redis to be healthy" service_is_healthy redis
say "holds: the health check says that Redis is away, and that it is back"

# --- a drain in the middle ----------------------------------------------------------------------------------------
add drained $((REQUESTS / 4))
at=$(outcomes)
holds "the drain begins in the middle, at $at outcomes" [ "$at" -lt "$(requests_sent)" ]
docker stop --time 30 "$first" "$second" >/dev/null
is "exit codes of drained workers" "$(state_of "$first" ExitCode) $(state_of "$second" ExitCode)" "0 0"
for worker in "$first" "$second"; do
    holds "a drained worker left nothing behind" grep -qF '"message":"stopped"' <(docker logs "$worker" 2>&1 | tail -n 3)
done
is "workers that Redis knows after the drain" "$(redis XINFO CONSUMERS orders:pending execution | grep -c . || true)" 0
start
audit "after a drain"

# --- the books ------------------------------------------------------------------------------------------------------
count=$(requests_sent)
quantity=$(cli positions --json | grep -o '"quantity":"[0-9.]*"' | cut -d '"' -f 4)
is "the position, of $count buys of 0.01" "$(awk -v q="$quantity" 'BEGIN { printf "%.2f", q }')" \
    "$(awk -v n="$count" 'BEGIN { printf "%.2f", n / 100 }')"
docker stop --time 30 "$first" "$second" >/dev/null
holds "the events tell what the tables hold (replay)" cli replay
say "$checks checks held, journal on $journal"
