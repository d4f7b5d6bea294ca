#!/bin/sh
# Makes the topics at SATELLITE_KAFKA_BOOTSTRAP; those there are stay as they are. Run it as often as you like.
set -eu
exec "${SATELLITE:-satellite}" kafka topics --create "$@"
