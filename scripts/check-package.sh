#!/usr/bin/env bash
# Packs kd-spec, installs the tarball in an empty project, and runs the command and the library from there.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tarball=$(npm pack --silent --pack-destination "$folder")
cd "$folder"
npm init --yes >/dev/null
npm install --silent "./$tarball"
npx kd-spec --version
npx kd-spec doctor
npx kd-spec cluster --classes 300 --dry-run
node --input-type=module -e "import { fuse } from 'kd-spec'; if (typeof fuse !== 'function') process.exit(1)"
