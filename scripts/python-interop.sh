#!/usr/bin/env bash
# Checks our files with Python's `datasets`, `pyarrow`, Pillow and `safetensors`, data sets in both directions; and
# the manifest for Kubernetes with the official schemas, as `kubernetes-validate` brings them.
#
#   scripts/python-interop.sh
#
# The first run makes a Python environment (see python-venv.sh): about a minute and 400 MB.
set -euo pipefail
cd "$(dirname "$0")/.."

TEST_PYTHON=$(scripts/python-venv.sh)
export TEST_PYTHON
npx vitest run test/python
