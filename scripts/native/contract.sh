#!/usr/bin/env bash
# Gets native TensorFlow, and holds it to the contract of the backends: kernels, gradients, training, checkpoints.
# Then runs a small pipeline with it on every release of Node that kd-spec promises.
#
#   scripts/native/contract.sh
#
# The first run downloads 270 MB and builds the addon: about two minutes. Needs python3 with pip, make and g++.
set -euo pipefail
cd "$(dirname "$0")/../.."

npm run native
npm run --silent build
TEST_NATIVE=tensorflow npx vitest run src/compute test/contract

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/tiny.yaml" <<'YAML'
dataset: { source: jft-like, classes: 60, imagesPerClass: 20, imageSize: 16 }
generalist: { network: { convolutions: [8], dense: [16] }, epochs: 2 }
subsets: { clusters: 3 }
specialists: { epochs: 1, views: 2, parallel: 2 }
YAML
for version in 20 22 24; do
  # By itself, since it warns of classes without validation images; what follows has nothing to say.
  node dist/cli/main.js dataset --pipeline "$folder/tiny.yaml" --workspace "$folder/node-$version" --quiet >/dev/null
  npx --yes --loglevel=error --package "node@$version" node dist/cli/main.js run "$folder/tiny.yaml" \
    --backend tensorflow --workspace "$folder/node-$version" --quiet >/dev/null 2>"$folder/messages"
  if [ -s "$folder/messages" ]; then cat "$folder/messages"; exit 1; fi
  for stage in generalist specialists; do
    grep -q '"backend": *"tensorflow"' "$folder/node-$version/$stage/manifest.json"
  done
  echo "Node $(npx --yes --loglevel=error --package "node@$version" node --version): the pipeline ran on tensorflow"
done
