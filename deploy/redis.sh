#!/bin/sh
# Starts Redis over its append-only log, whose end is repaired before: deploy/redis.sh --appendonly yes ...
# A crash in the midst of a write may leave half a transaction at the end of the log. Redis 7, told to load such a log
# (aof-load-truncated yes, the default), leaves that half where it is, writes on behind it, and at its next start takes
# what follows for a part of it: requests that it acknowledged are gone then. redis-check-aof cuts it off whole.
set -eu
manifest=${REDIS_DIR:-/data}/appendonlydir/appendonly.aof.manifest
if [ -f "$manifest" ]; then
    echo y | redis-check-aof --fix "$manifest"
fi
exec redis-server --dir "${REDIS_DIR:-/data}" --aof-load-truncated no "$@"
