#!/usr/bin/env bash
# Runs a command that needs the network. Where it fails, or hangs for so many minutes, it is stopped and run again, twice.
# Stopped itself, it stops the command.
#
#   scripts/retry.sh 5 npm ci
set -uo pipefail
minutes=$1
shift
child=
trap '[ -z "$child" ] || kill -TERM "$child" 2>/dev/null; wait; exit 143' TERM INT
for try in 1 2 3; do
  # In the background, since a trap runs only after a command in the foreground.
  start=$SECONDS
  timeout --kill-after=10 "${minutes}m" "$@" &
  child=$!
  wait "$child"
  status=$?
  case $status in
    0) exit 0 ;;
    125 | 126 | 127) break ;; # no such command
  esac
  if [ $((SECONDS - start)) -ge $((60 * minutes)) ]; then
    echo "'$*' had not ended after $minutes minutes (try $try of 3)" >&2
  else
    echo "'$*' failed with status $status (try $try of 3)" >&2
  fi
done
exit "$status"
