#!/usr/bin/env bash
# Makes the passwords that docker-compose.yml mounts, each once: what is there is never changed.
#
#   deploy/secrets.sh [FOLDER]       deploy/secrets where none is named
#
# The folder is its owner's alone. The files in it can be read by anybody who gets that far, since the users of the
# containers, which are not the owner, read them as they are mounted.
set -euo pipefail
folder=${1:-$(dirname "${BASH_SOURCE[0]}")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
# keep NAME TEXT
keep() {
    if [ -e "$folder/$1" ]; then return; fi
    # Under another name first, so that no half of a password is ever taken for one.
    (umask 077 && printf '%s\n' "$2" >"$folder/.$1.new")
    chmod 444 "$folder/.$1.new"
    mv "$folder/.$1.new" "$folder/$1"
    printf 'made %s\n' "$folder/$1"
}

keep redis_password "$(random)"
keep postgres_password "$(random)"
keep http_token "$(random)"
redis_password=$(<"$folder/redis_password")
# Redis is given the hash alone. Nobody needs the commands that empty it.
hash=$(printf %s "$redis_password" | sha256sum | cut -d ' ' -f 1)
keep redis_acl "user default on #$hash ~* &* +@all -flushall -flushdb -swapdb -debug"
keep redis_url "redis://:$redis_password@redis:6379/0"
keep database_url "postgres://order_execution:$(<"$folder/postgres_password")@postgres:5432/order_execution"
