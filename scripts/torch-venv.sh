#!/usr/bin/env bash
# Makes a Python environment with PyTorch for the benchmarks, and prints its interpreter.
#
#   python=$(scripts/torch-venv.sh)            # in a temporary folder that is reused
#   python=$(scripts/torch-venv.sh ./my-venv)  # in a folder of your choice
#
# Needs python3 with the venv module, and 6 GB: for Linux, PyPI has the build that can use CUDA, with NVIDIA's libraries.
# On a machine without a GPU it computes on the processor as the smaller build does.
set -euo pipefail

venv=${1:-${TMPDIR:-/tmp}/kd-spec-torch}
packages=(torch numpy safetensors)
ready=$venv/ready-$(IFS=-; echo "${packages[*]}") # an environment with fewer is completed
if [ ! -e "$ready" ]; then
  python3 -m venv "$venv" >&2
  "$(dirname "$0")/retry.sh" 60 "$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir "${packages[@]}" >&2
  touch "$ready"
fi
echo "$venv/bin/python"
