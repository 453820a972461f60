#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds a fuzz target of tests/fuzz with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer
# and runs it: tools/fuzz.sh TARGET|all SECONDS [options of libFuzzer]. What it finds lies in
# build/fuzz/found/TARGET; a small one that was a fault belongs into tests/fuzz/corpus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ $# -lt 2 ]]; then
  sed -n '3,5s/^# //p' "tools/fuzz.sh" >&2
  exit 2
fi
wanted=$1
seconds=$2
shift 2

build=build/fuzz
if [[ ! -f $build/build.ninja ]]; then
  cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang \
    -DCMAKE_CXX_COMPILER=clang++ -DFOLKMOOT_CUDA=OFF -DFOLKMOOT_BUILD_TESTS=ON -DFOLKMOOT_FUZZ=ON \
    -DFOLKMOOT_SANITIZE=address,undefined -DFOLKMOOT_JOIN_SOURCES=ON
fi
targets=("fuzz_$wanted")
if [[ $wanted == all ]]; then
  targets=()
  for source in tests/fuzz/fuzz_*.cc; do targets+=("$(basename "$source" .cc)"); done
fi
ninja -C $build "${targets[@]}"

status=0
for target in "${targets[@]}"; do
  name=${target#fuzz_}
  mkdir -p "$build/found/$name" "$build/corpus/$name"
  echo "== $name"
  "$build/bin/$target" "$build/corpus/$name" "tests/fuzz/corpus/$name" \
    -max_total_time="$seconds" -timeout=5 -rss_limit_mb=512 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="$build/found/$name/" "$@" 2>&1 | tail -n 40 || status=1
done
exit $status
