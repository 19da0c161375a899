#!/usr/bin/env bash
# The page of `kd-spec serve`, and exported pages and models, in a real Chromium: installs Debian's package where there is none, then runs test/browser.
#
#   npm run build && scripts/browser-test.sh [options of vitest]
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v chromium > /dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq chromium > /dev/null
fi
npx --no-install vitest run --project browser "$@"
