#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: scripts/tidy.sh [FILE.cc ...]   (all sources that ship when none are named)
# Runs clang-tidy with .clang-tidy over a tree that the preset "clang" configured.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v clang-tidy >/dev/null || {
  echo "error: clang-tidy is missing: apt-get install clang clang-tidy" >&2
  exit 1
}
[[ -f build/clang/compile_commands.json ]] || cmake --preset clang >/dev/null
files=("$@")
if ((${#files[@]} == 0)); then
  mapfile -t files < <(find runtime parallel scheduler layers launch -name '*.cc' | sort)
fi
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 clang-tidy -p build/clang --quiet
