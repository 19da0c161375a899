#!/usr/bin/env bash
# Runs a command that needs the network. Where it fails, or hangs for so many minutes, it is stopped and run again, twice.
#
#   scripts/retry.sh 5 npm ci
set -uo pipefail
minutes=$1
shift
for try in 1 2 3; do
  timeout --kill-after=10 "${minutes}m" "$@" && exit 0
  status=$?
  [ "$status" -lt 124 ] || echo "'$*' had not ended after $minutes minutes (try $try of 3)" >&2
  [ "$status" -ge 124 ] || echo "'$*' failed with status $status (try $try of 3)" >&2
done
exit "$status"
