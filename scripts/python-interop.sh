#!/usr/bin/env bash
# Checks our files with Python's `datasets`, `pyarrow`, Pillow, `safetensors` and `onnxruntime`, in both directions; and
# the manifest for Kubernetes with the official schemas, as `kubernetes-validate` brings them; event files with TensorBoard
# and what is sent to an MLflow server with MLflow.
#
#   scripts/python-interop.sh
#
# The first run makes a Python environment (see python-venv.sh): some minutes and 1 GB.
set -euo pipefail
cd "$(dirname "$0")/.."

TEST_PYTHON=$(scripts/python-venv.sh)
export TEST_PYTHON
npx vitest run test/python
