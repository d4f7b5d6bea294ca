#!/bin/sh
# Installs what tests need beside Python: Prometheus, Chromium, nginx, and Java and Maven for Kafka. Where it cannot, those tests say so and
# are skipped (with CI=true they fail).
set -eu
PATH=$PATH:/usr/sbin # nginx is there

missing=
for pair in prometheus:prometheus chromium:chromium nginx:nginx-light java:default-jre-headless mvn:maven; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not installed, as that takes root on Debian or Ubuntu:$missing. The tests that need them are skipped."
    exit 0
fi
echo "Installing for tests:$missing ..."

# Debian starts a service as it is installed; 101 forbids that.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 1' INT TERM
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod +x $policy
fi
export DEBIAN_FRONTEND=noninteractive
# The lists of packages may be missing or old. $missing is several words.
# shellcheck disable=SC2086
apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends $missing >/dev/null
}
