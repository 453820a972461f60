#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: scripts/tidy.sh [FILE.cc ...]   (all sources that ship when none are named)
# Runs clang-tidy with .clang-tidy over a tree that the preset "clang" configures. A clean file
# leaves a stamp in build/clang/tidy; it is read again when it, a header of ours that it includes,
# its compile command, .clang-tidy or clang-tidy changes. Exit status 0: every file is clean.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Prints FILE and the headers of ours that it includes, however deep. Ours are named from the root.
folkmoot_inputs() {
  local seen=$'\n' frontier=("$1") next file
  while ((${#frontier[@]} > 0)); do
    next=()
    for file in "${frontier[@]}"; do
      [[ $seen == *$'\n'"$file"$'\n'* ]] && continue
      seen+=$file$'\n'
      [[ -f $file ]] && next+=("$file")
    done
    ((${#next[@]} == 0)) && break
    printf '%s\n' "${next[@]}"
    mapfile -t frontier < <(sed -n 's/^#include "\([^"]*\)".*/\1/p' "${next[@]}" | sort -u)
  done
}

# One file; called by xargs below in a shell of its own.
folkmoot_tidy() {
  local file=$1 stamp=build/clang/tidy/$1.stamp key findings
  key=$({
    echo "$FOLKMOOT_TIDY_VERSION"
    grep -F "/$file\"" build/clang/compile_commands.json
    folkmoot_inputs "$file" | xargs sha256sum .clang-tidy
  } | sha256sum)
  [[ -f $stamp && $(<"$stamp") == "$key" ]] && return 0
  findings=$(clang-tidy -p build/clang --quiet "$file" 2>&1) || {
    printf '%s\n' "$findings"
    return 1
  }
  mkdir -p "${stamp%/*}" && printf '%s\n' "$key" >"$stamp"
}

command -v clang-tidy >/dev/null || {
  echo "error: clang-tidy is missing: apt-get install clang clang-tidy" >&2
  exit 1
}
cmake --preset clang >/dev/null
cmake --build build/clang --target generated/proto/step.pb.h >/dev/null
files=("$@")
if ((${#files[@]} == 0)); then
  # The simulator's names are CUDA's.
  mapfile -t files < <(find runtime parallel scheduler layers launch -name '*.cc' \
    -not -path 'runtime/cuda/sim/*' | sort)
fi
FOLKMOOT_TIDY_VERSION=$(clang-tidy --version)
export FOLKMOOT_TIDY_VERSION
export -f folkmoot_inputs folkmoot_tidy
# shellcheck disable=SC2016  # $1 is for the inner shell
printf '%s\n' "${files[@]}" | xargs -P "${FOLKMOOT_JOBS:-$(nproc)}" -n 1 \
  bash -c 'folkmoot_tidy "$1"' tidy || {
  echo "error: clang-tidy found something: see above" >&2
  exit 1
}
echo "clang-tidy: ${#files[@]} files are clean"
