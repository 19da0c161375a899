#!/usr/bin/env bash
# Installs what the speech data set is made with, where it is missing: without it, its tests are skipped.
set -euo pipefail
if python3 -c 'import ctypes.util, sys; sys.exit(ctypes.util.find_library("espeak-ng") is None)' 2>/dev/null; then
  exit 0
fi
sudo=''
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends espeak-ng python3 >&2
