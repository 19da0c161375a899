#!/usr/bin/env bash
# Gets a software driver for WebGPU, and the packages, for machines without a GPU; prints the driver's file.
#
#   export VK_DRIVER_FILES=$(scripts/webgpu/driver.sh)
#
# Mesa's lavapipe, of Mesa 23 or later: the system's own, else the one of Debian's backports, unpacked into a folder of
# the user's caches; else SwiftShader, which Debian's chromium brings and which is several times slower. Needs apt-get.
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { echo "$*" >&2; }

node --input-type=module -e "
  import { createRequire } from 'node:module';
  for (const name of ['webgpu', '@tensorflow/tfjs-backend-webgpu']) createRequire('$PWD/').resolve(name + '/package.json');
" 2>/dev/null || npm install --no-save --save-optional --loglevel=error webgpu@0.6 @tensorflow/tfjs-backend-webgpu@4.22 >&2

folder=${XDG_CACHE_HOME:-$HOME/.cache}/kd-spec/vulkan
icd=$folder/lavapipe.json
system=/usr/share/vulkan/icd.d/lvp_icd.$(uname -m).json
if ! ldconfig -p | grep -q 'libvulkan\.so\.1'; then
  say 'installing the Vulkan loader'
  apt-get install -y -qq --no-install-recommends libvulkan1 >&2
fi
loads() { VK_DRIVER_FILES=$1 node scripts/webgpu/adapter.mjs >&2; }

for candidate in "$icd" "$system" /usr/share/vulkan/icd.d/lvp_icd.json; do
  if [ -e "$candidate" ] && loads "$candidate"; then echo "$candidate"; exit 0; fi
done

. /etc/os-release
say "getting lavapipe from $VERSION_CODENAME-backports"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
mirror=http://deb.debian.org/debian
printf 'deb %s %s main\n' "$mirror" "$VERSION_CODENAME" "$mirror" "$VERSION_CODENAME-backports" >"$scratch/sources.list"
mkdir -p "$scratch/lists/partial" "$scratch/root" "$folder"
apt() { apt-get -qq -o "Dir::Etc::SourceList=$scratch/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::lists=$scratch/lists" "$@"; }
if apt update >&2 && (cd "$scratch" && apt download "mesa-vulkan-drivers/$VERSION_CODENAME-backports" >&2 2>/dev/null); then
  dpkg -x "$scratch"/mesa-vulkan-drivers_*.deb "$scratch/root"
  cp "$(find "$scratch/root" -name libvulkan_lvp.so)" "$folder/"
  missing=$(ldd "$folder/libvulkan_lvp.so" | awk '/not found/ { print $1 }')
  for library in $missing; do
    case $library in
      libLLVM-15*) package=libllvm15 ;;
      libLLVM-19* | libLLVM.so.19*) package=libllvm19 ;;
      libdrm*) package=libdrm2 ;;
      libwayland-client*) package=libwayland-client0 ;;
      libxcb-*) package=$(sed 's/^\(.*\)\.so\.\(.*\)$/\1\2/' <<<"$library") ;;
      libX11-xcb*) package=libx11-xcb1 ;;
      libxshmfence*) package=libxshmfence1 ;;
      *) say "lavapipe needs $library"; continue ;;
    esac
    apt install -y --no-install-recommends "$package" >&2 || true
  done
  printf '{ "ICD": { "api_version": "1.4.305", "library_path": "%s" }, "file_format_version": "1.0.0" }\n' \
    "$folder/libvulkan_lvp.so" >"$icd"
  if loads "$icd"; then echo "$icd"; exit 0; fi
fi

say "falling back on SwiftShader out of Debian's chromium-common"
swiftshader=/usr/lib/chromium/vk_swiftshader_icd.json
[ -e "$swiftshader" ] || apt-get install -y -qq --no-install-recommends chromium-common >&2
loads "$swiftshader"
echo "$swiftshader"
