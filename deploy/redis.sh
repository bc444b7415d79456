#!/bin/sh
# Starts Redis over its append-only log, whose end is repaired before: deploy/redis.sh --appendonly yes ...
# A crash in the midst of a write may leave half a transaction at the end of the log. Redis 7, told to load such a log
# (aof-load-truncated yes, the default), leaves that half where it is, writes on behind it, and at its next start takes
# what follows for a part of it: requests that it acknowledged are gone then. redis-check-aof cuts it off whole. What is
# cut off stays beside the log, as *.torn. More than a transaction can be is not torn but broken: that is left to a person.
set -eu
folder=${REDIS_DIR:-/data}/appendonlydir
manifest=$folder/appendonly.aof.manifest
if [ -f "$manifest" ] && ! found=$(redis-check-aof "$manifest" 2>&1 </dev/null); then
    line=$(printf '%s\n' "$found" | grep '^AOF analyzed' | tail -n 1)
    file=$(printf '%s\n' "$line" | sed -n 's/.*filename=\([^,]*\),.*/\1/p')
    torn=$(printf '%s\n' "$line" | sed -n 's/.*diff=\([0-9]*\).*/\1/p')
    if [ -z "$torn" ] || [ "$torn" -gt "${REDIS_TORN_BYTES:-8388608}" ]; then
        printf '%s\n' "$found" >&2
        echo "Redis's log is broken, not torn: ${torn:-an unknown number of} bytes behind its first fault. Nothing was changed." >&2
        echo "Copy $folder, look at it, then: redis-check-aof --fix $manifest" >&2
        exit 1
    fi
    tail -c "$torn" "$folder/$file" >"$folder/$file.torn"
    echo "$file: the last $torn bytes are half a write, and are cut off (kept in $file.torn)" >&2
    echo y | redis-check-aof --fix "$manifest" >/dev/null
fi
exec redis-server --dir "${REDIS_DIR:-/data}" --aof-load-truncated no "$@"
