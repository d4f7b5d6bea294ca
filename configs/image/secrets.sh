#!/bin/sh
# Makes the secrets that compose.yaml hands to its containers, as files under secrets/; those that exist stay.
set -eu

umask 077
mkdir -p secrets
cd secrets

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

keep() { # NAME VALUE. Containers run as users of their own: the folder keeps others out, not the file.
    [ -e "$1" ] || printf %s "$2" > "$1"
    chmod 444 "$1"
}

keep postgres_password "$(random)"
keep redis_password "$(random)"
keep grafana_password "$(random)"
keep satellite_ray_token "$(random)"
keep satellite_key_secret "$(random)"
keep satellite_database_url "postgresql://satellite:$(cat postgres_password)@postgres:5432/satellite"
keep satellite_redis_url "redis://:$(cat redis_password)@redis:6379/0"
