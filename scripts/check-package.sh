#!/usr/bin/env bash
# Packs kd-spec, installs the tarball in an empty project, runs the command and the library from there, and compiles the
# README's programs and a use of every export against its types: strictly, and with the declarations of its
# dependencies checked too (no skipLibCheck), since a type of theirs in a signature of ours brings their errors along. At the
# end, what `kd-spec doctor` says of the native ONNX Runtime is typed in a project, for a whole machine, and in a clone.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
folder=$(mktemp -d)
elsewhere=$(mktemp -d) # where Node finds nothing of the project's
trap 'rm -rf "$folder" "$elsewhere"' EXIT
tarball=$(npm pack --silent --pack-destination "$folder")
cd "$folder"
npm init --yes >/dev/null
npm pkg set type=module
"$root/scripts/retry.sh" 3 npm install --silent "./$tarball"
npx kd-spec --version
npx kd-spec doctor
npx kd-spec cluster --classes 300 --dry-run
node --input-type=module -e "import { fuse } from 'kd-spec'; if (typeof fuse !== 'function') process.exit(1)"

version() { node -p "require('$root/package.json').devDependencies['$1']"; }
"$root/scripts/retry.sh" 3 npm install --silent --save-dev "typescript@$(version typescript)" "@types/node@$(version @types/node)"
node --input-type=module - "$root/README.md" <<'JS'
import { readFileSync, writeFileSync } from 'node:fs';
const blocks = [...readFileSync(process.argv[2], 'utf8').matchAll(/^```ts\n([\s\S]*?)^```$/gm)];
if (blocks.length === 0) throw new Error('the README has no program in TypeScript');
for (const [index, [, program]] of blocks.entries()) writeFileSync(`readme-${index + 1}.ts`, program);
writeFileSync('every-export.ts', "import * as kdSpec from 'kd-spec';\nexport const everything: typeof kdSpec = kdSpec;\n");
JS
npx tsc --noEmit --pretty false --strict --exactOptionalPropertyTypes \
  --target es2023 --lib es2023 --module nodenext --types node every-export.ts readme-*.ts
echo 'the types of the installed package compile'

# Types what doctor advises in this folder, and sees that it helped.
follow_advice() { # the program, and its words
  local advice
  advice=$("$@" doctor 2>/dev/null | sed -n 's/.*for the faster native one: //p')
  [ -n "$advice" ] || { echo 'doctor advises nothing' >&2; return 1; }
  echo "$advice"
  eval "\"\$root/scripts/retry.sh\" 3 $advice --no-audit --no-fund --silent"
  "$@" doctor 2>/dev/null | grep -q '^ONNX Runtime *native'
}
follow_advice npx kd-spec
export npm_config_prefix=$elsewhere/machine
"$root/scripts/retry.sh" 3 npm install --silent --global "./$tarball"
follow_advice "$elsewhere/machine/bin/kd-spec"
unset npm_config_prefix
mkdir "$elsewhere/clone"
cp -r "$root"/{package.json,package-lock.json,tsconfig.json,dist} "$elsewhere/clone"
(cd "$elsewhere/clone" && "$root/scripts/retry.sh" 3 npm ci --silent --omit=dev)
follow_advice node "$elsewhere/clone/dist/cli/main.js"
echo 'what doctor advises installs the native ONNX Runtime'
