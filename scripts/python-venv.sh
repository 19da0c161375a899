#!/usr/bin/env bash
# Makes a Python environment with the programs that our files must agree with, and prints its interpreter.
#
#   python=$(scripts/python-venv.sh)                               # in a temporary folder that is reused
#   python=$(scripts/python-venv.sh ./my-venv)                     # in a folder of your choice
#   python=$(scripts/python-venv.sh ./my-venv scikit-learn scipy)  # with packages of your choice
#
# Needs python3 with the venv module. The versions are the ones that the tests were written against.
set -euo pipefail

venv=${1:-${TMPDIR:-/tmp}/kd-spec-python}
packages=("${@:2}")
[ "${#packages[@]}" -gt 0 ] ||
  packages=(datasets pillow numpy safetensors kubernetes-validate onnxruntime tensorboard mlflow)
if [ ! -e "$venv/ready-4" ]; then
  python3 -m venv "$venv" >&2
  "$(dirname "$0")/retry.sh" 4 "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" >&2
  touch "$venv/ready-4"
fi
echo "$venv/bin/python"
