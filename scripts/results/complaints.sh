#!/usr/bin/env bash
# A complaint list for a model that nobody here trained: docs/results/complaints.md.
#
#   npm run build && scripts/results/complaints.sh FOLDER [SEED]
#
# The model is PP-OCRv6 small (18,709 characters, Apache-2.0) out of PyPI's package rapidocr; the fonts are the
# development dependencies of kd-spec. FOLDER keeps all: images, workspaces, the patched models and what patch printed of each. Needs
# python3 with venv; onnxruntime-node beside kd-spec computes features faster than the WebAssembly that is always there.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:?expected a folder for images, workspace and results}
seed=${2:-1}
mkdir -p "$folder"

python=$(scripts/python-venv.sh "$folder/venv" numpy pillow fonttools brotli onnxruntime)
"$python" -m pip install --quiet --disable-pip-version-check --no-deps rapidocr
model=$(find "$folder/venv" -name PP-OCRv6_rec_small.onnx)
[ -d "$folder/data" ] || "$python" scripts/results/complaints/images.py --model "$model" \
  --fonts node_modules/@fontsource --out "$folder/data" --seed "$seed"
"$python" -m pip install --quiet --disable-pip-version-check opencv-python-headless pyclipper shapely omegaconf pyyaml six \
  tqdm requests colorlog

# Specialists on the model as it is, then on its last layer refitted; each file as it is, and inside rapidocr in place of
# its own model file.
for name in patched refitted; do
  options=()
  [ "$name" = patched ] || options=(--refit-share 0.5 --refit-views 1)
  node dist/cli/main.js patch "$model" --images "$folder/data/photos" --bystanders "$folder/data/others" \
    --out "$folder/$name.onnx" --workspace "$folder/workspace-$name" --clusters 1 --image-size 48 --views 1 \
    --backend wasm --seed "$seed" --json "${options[@]}" >"$folder/$name.json" 2>"$folder/$name.log" ||
    grep 'code: patch-refused' "$folder/$name.log"
  tail -n 3 "$folder/$name.log"
  [ -s "$folder/$name.json" ] || continue # refused
  "$python" -m json.tool "$folder/$name.json"
  "$python" scripts/results/complaints/strangers.py --model "$folder/$name.onnx" --before "$folder/patched.onnx" \
    --images "$folder/data/strangers"
  for part in val test; do
    "$python" scripts/results/complaints/by_design.py --model "$folder/$name.onnx" --before "$folder/patched.onnx" \
      --images "$folder/data/photos/$part"
  done
  node dist/cli/main.js export --replace-output --out "$folder/replaced.onnx" --workspace "$folder/workspace-$name" --backend wasm
  reads=("$python" scripts/results/complaints/rapidocr_reads.py --patched "$folder/replaced.onnx" --images "$folder/data/photos/test")
  "${reads[@]}" --width 48 --most 900
  "${reads[@]}" --width 320 --most 300
done
