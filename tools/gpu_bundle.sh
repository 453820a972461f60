#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Gathers what tools/gpu_check.sh runs into one folder, with the shared libraries that it needs, so
# that it can be carried to a machine that has a GPU and nothing else of ours: BUNDLE, and the same
# packed, BUNDLE.tar.xz.
#
#   tools/gpu_bundle.sh [BUILD_DIR [BUNDLE]]      default: build/release build/gpu-bundle
set -eu
cd "$(dirname "$0")/.."
BUILD=${1:-build/release}
BUNDLE=${2:-build/gpu-bundle}
[ -x "$BUILD/bin/folkmoot" ] || { echo "$BUILD/bin/folkmoot is not built" >&2; exit 1; }

rm -rf "$BUNDLE"
cmake --install "$BUILD" --prefix "$BUNDLE" >/dev/null  # the program, its libraries, Open MPI
pwd >"$BUNDLE/source_dir"                               # where the tests were told to look for their data
git rev-parse HEAD >"$BUNDLE/commit" 2>/dev/null || echo unknown >"$BUNDLE/commit"
strip "$BUNDLE/bin/folkmoot"
for program in "$BUILD"/bin/*_test_gpu "$BUILD"/bin/*_test_cuda; do
  [ -x "$program" ] || continue
  strip -o "$BUNDLE/bin/$(basename "$program")" "$program"
  # All but what belongs to the system.
  ldd "$program" | awk '$3 ~ /^\// { print $3 }' |
    grep -Ev '/(lib(c|m|dl|rt|pthread|resolv|util|stdc\+\+|gcc_s|cuda|nvidia[^/]*)|ld-linux[^/]*)\.so' |
    while read -r library; do
      [ -e "$BUNDLE/lib/$(basename "$library")" ] || cp -L "$library" "$BUNDLE/lib/"
    done
done
# The programs hold the same kernels: a window over all of them packs those once.
XZ_OPT="--lzma2=preset=6,dict=256MiB" tar -C "$BUNDLE" -cJf "$BUNDLE.tar.xz" .
du -sh "$BUNDLE" "$BUNDLE.tar.xz"
