#!/usr/bin/env bash
# Asks ONNX models as teachers, with the optional package onnxruntime-node, which is too large for everyday tests.
#
#   scripts/onnx-runtime.sh
#
# Installs it outside the project, without the CUDA part that its install step would fetch, and lends it to
# node_modules while the tests run.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
lent=node_modules/onnxruntime-node
trap 'rm -rf "$folder" "$lent"' EXIT
ONNXRUNTIME_NODE_INSTALL=skip npm install --prefix "$folder" --no-fund --no-audit onnxruntime-node@1.30
ln -s "$folder/$lent" "$lent"
npx vitest run test/onnx-teacher.test.ts
