#!/usr/bin/env bash
# Holds the backend webgpu to the contract of the backends: kernels, gradients, training, checkpoints, heads that are
# larger than a GPU reaches at a time. Then runs the quickstart's pipeline on it, with few classes, to its report.
#
#   scripts/webgpu/contract.sh          on a software driver, which it gets by itself
#   scripts/webgpu/contract.sh --gpu    on the GPU of this machine
set -euo pipefail
cd "$(dirname "$0")/../.."

[ "${1:-}" = --gpu ] || VK_DRIVER_FILES=$(scripts/webgpu/driver.sh)
export VK_DRIVER_FILES
npm run --silent build
# In a process for each file: Dawn's devices do not share one with worker threads.
TEST_NATIVE=webgpu npx vitest run src/compute test/contract

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
node dist/cli/main.js run pipelines/quickstart.yaml --backend webgpu --workspace "$folder/ws" \
  --classes 40 --convolutions 8,16 --dense 48 --epochs 2 --clusters 3 --specialist-epochs 1 --views 1 --quiet --json >"$folder/run.json"
for stage in generalist specialists predictions ensemble; do
  grep -q '"backend": *"webgpu"' "$folder/ws/$stage/manifest.json"
done
test -s "$folder/ws/report/index.html"
echo "the quickstart's pipeline ran on webgpu, to its report"

npx tsx scripts/webgpu/million-classes.ts
