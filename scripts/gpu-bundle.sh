#!/usr/bin/env bash
# Packs what scripts/gpu-check.sh needs on a Linux machine without a network: Node, the built project with its tests,
# and the packages with their binaries for this platform; webgpu's too. Prints the file and its size.
#
#   scripts/gpu-bundle.sh [gpu-check.tar.xz]
#   tar xf gpu-check.tar.xz && kd-spec-gpu/scripts/gpu-check.sh      # there
#
# TensorFlow with CUDA is not in it: `npm run native -- --gpu` takes 5.4 GB.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-gpu-check.tar.xz}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bundle=$scratch/kd-spec-gpu
mkdir -p "$bundle/node/bin"

npm run --silent build
cp -r dist src test scripts pipelines datasets pages package.json package-lock.json tsconfig.json tsconfig.build.json vitest.config.ts README.md "$bundle/"
# Development packages that the check needs; the fonts are not among them: its data set is synthetic.
node --input-type=module - "$bundle/package.json" <<'JS'
import { readFileSync, writeFileSync } from 'node:fs';
const manifest = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const needed = ['fast-check', 'ml-kmeans', 'ml-matrix', 'tsx', 'typescript', 'vitest'];
manifest.devDependencies = Object.fromEntries(Object.entries(manifest.devDependencies).filter(([name]) => needed.includes(name)));
manifest.dependencies.webgpu = manifest.peerDependencies.webgpu;
manifest.dependencies['@tensorflow/tfjs-backend-webgpu'] = manifest.peerDependencies['@tensorflow/tfjs-backend-webgpu'];
delete manifest.peerDependencies;
delete manifest.peerDependenciesMeta;
writeFileSync(process.argv[2], JSON.stringify(manifest, null, 2));
JS
(cd "$bundle" && npm install --silent --prefer-offline --no-audit --no-fund)
cp "$(node -p process.execPath)" "$bundle/node/bin/node"
strip --strip-unneeded "$bundle/node/bin/node" 2>/dev/null || true

modules=$bundle/node_modules
machine=$(node -p '`${process.platform}-${process.arch}`')
find "$modules/webgpu/dist" -mindepth 1 -maxdepth 1 ! -name "$machine" -exec rm -rf {} +
# Of TensorFlow.js only what Node loads; of everything else no source maps and no declarations.
find "$modules" \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.md' \) -delete
find "$modules/@tensorflow" -type d -name miniprogram -prune -exec rm -rf {} +
find "$modules/@tensorflow" -type f \( -name '*.min.js' -o -name '*.fesm.js' -o -name '*.es2017.js' \) -delete
ort=$modules/onnxruntime-web/dist
find "$ort" -type f ! -name 'ort.node.min.mjs' ! -name 'ort-wasm-simd-threaded.wasm' ! -name 'ort-wasm-simd-threaded.mjs' -delete
# Characters are drawn, and BMP files read, by a package that no synthetic image needs.
find "$modules/@napi-rs" -mindepth 1 -maxdepth 1 -name 'canvas-*' -exec rm -rf {} +
rm -rf "$modules/typescript"

XZ_OPT='-9 -T1' tar -C "$scratch" -cJf "$out" kd-spec-gpu
bytes=$(stat -c %s "$out")
echo "$out: $((bytes / 1048576)) MiB"
if [ "$bytes" -gt $((64 * 1048576)) ]; then
  echo 'more than the 64 MiB that it is to fit into' >&2
  du -sm "$modules"/* "$modules"/@*/* 2>/dev/null | sort -rn | head -20 >&2
  exit 1
fi
