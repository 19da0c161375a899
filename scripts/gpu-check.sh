#!/usr/bin/env bash
# Does all that a machine with a GPU has to show, in about six minutes and without a network, and prints one table and,
# into a file, JSON: doctor, the contract of the backends on each GPU backend, training rates beside PyTorch's on the
# same GPU, a pipeline of 15,000 classes from nothing to its report, and the memory of two workers.
#
#   scripts/gpu-check.sh [--out gpu-check.json] [--seconds 330] [--backends webgpu,tensorflow-gpu] [--tiny]
#
# Run it in a clone where `npm ci` has run and the backend's packages are installed (docs/backends.md), or in the
# folder of an unpacked bundle (scripts/gpu-bundle.sh), which brings Node. PyTorch is used where `python3 -c 'import
# torch'` works (PYTHON names another interpreter). `--tiny` shrinks everything, for a try on a software driver.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -x node/bin/node ]; then PATH="$PWD/node/bin:$PATH"; fi
[ -e dist/cli/main.js ] || npx --no-install tsc -p tsconfig.build.json
exec node --import tsx scripts/gpu/check.ts "$@"
