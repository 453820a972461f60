#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds fuzz targets with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer and runs them,
# one per core at a time. Exit status 0 only when none of them found anything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'USAGE'
usage: tools/fuzz.sh TARGET|all SECONDS [OPTIONS OF LIBFUZZER]

  tools/fuzz.sh gguf 60         the target tests/fuzz/fuzz_gguf.cc for a minute
  tools/fuzz.sh all 60          each of them for a minute

Installs the Debian packages that are missing (apt, as root or with sudo) and builds in build/fuzz.
What it finds lies in build/fuzz/found/TARGET, what it said in build/fuzz/log/TARGET.txt, and the
inputs that it goes on with next time in build/fuzz/corpus/TARGET. An input that was a fault belongs
into tests/fuzz/corpus/TARGET, where every test run replays it.
USAGE
}
[[ ${1:-} == -h || ${1:-} == --help ]] && usage && exit 0
if [[ $# -lt 2 || ! $2 =~ ^[0-9]+$ ]] || [[ $1 != all && ! -f tests/fuzz/fuzz_$1.cc ]]; then
  usage >&2
  exit 2
fi
wanted=$1
seconds=$2
shift 2
names=("$wanted")
if [[ $wanted == all ]]; then
  names=(tests/fuzz/fuzz_*.cc)
  names=("${names[@]#tests/fuzz/fuzz_}")
  names=("${names[@]%.cc}")
fi

# shellcheck source=scripts/setup.sh
source scripts/setup.sh
FOLKMOOT_PACKAGES+=(clang libclang-rt-dev llvm)  # llvm: names and lines in what is found
folkmoot_packages
target=folkmoot_fuzz_targets
[[ $wanted == all ]] || target=fuzz_$wanted
folkmoot_build fuzz "$target"

build=build/fuzz
# Memory that was freed stays poisoned until 8 MB more were freed, which is more than most inputs
# take; with the 256 MB that are usual, half of the time goes into fresh pages.
export ASAN_OPTIONS=quarantine_size_mb=8:malloc_context_size=12:${ASAN_OPTIONS:-}

stat_of() { sed -n "s/^stat::$2: *//p" "$build/log/$1.txt" | tail -n 1; }

# Runs a target, prints a row, and leaves its exit status in a file.
fuzz() {
  local name=$1 status=0 found=-
  shift
  mkdir -p "$build/found/$name" "$build/corpus/$name"
  "$build/bin/fuzz_$name" "$build/corpus/$name" "tests/fuzz/corpus/$name" \
    -max_total_time="$seconds" -timeout=5 -rss_limit_mb=512 -max_len=1024 -entropic=0 \
    -print_final_stats=1 -artifact_prefix="$build/found/$name/" "$@" \
    >"$build/log/$name.txt" 2>&1 || status=$?
  echo "$status" >"$build/log/$name.status"
  if ((status != 0)); then
    found=$(sed -n 's/.*Test unit written to //p' "$build/log/$name.txt" | tail -n 1)
    found="FOUND ${found:-"(status $status, see $build/log/$name.txt)"}"
  fi
  printf '%-14s %12s %11s  %s\n' "$name" "$(stat_of "$name" number_of_executed_units)" \
    "$(stat_of "$name" average_exec_per_sec)" "$found"
}

jobs=$(nproc)
folkmoot_say "fuzz: ${#names[@]} target(s), $seconds s each, $jobs at a time"
mkdir -p "$build/log"
printf '%-14s %12s %11s  %s\n' target executions "per second" found
for name in "${names[@]}"; do
  while (($(jobs -rp | wc -l) >= jobs)); do wait -n; done
  rm -f "$build/log/$name.status"
  fuzz "$name" "$@" &
done
wait

executions=0
faulty=()
for name in "${names[@]}"; do
  executions=$((executions + $(stat_of "$name" number_of_executed_units || true) + 0))
  [[ $(cat "$build/log/$name.status") == 0 ]] || faulty+=("$name")
done
for name in "${faulty[@]}"; do
  printf '\n== %s: the end of %s/log/%s.txt\n' "$name" "$build" "$name"
  tail -n 40 "$build/log/$name.txt"
done
if ((${#faulty[@]} == 0)); then
  echo "fuzz: ${#names[@]} target(s), $executions executions, nothing found"
else
  echo "fuzz: ${#names[@]} target(s), $executions executions, FOUND something in: ${faulty[*]}"
  exit 1
fi
