#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds Folkmoot and runs every test with ctest. Exit status 0 only when all of them pass.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: ./test.sh [release | asan | tsan | clang] [CTEST OPTIONS]

  release   (default) optimised build; all tests: unit, MPI at 1 to 4 ranks, end to end
  asan      AddressSanitizer and UndefinedBehaviorSanitizer; unit, MPI, end to end
  tsan      ThreadSanitizer; the same, without kernels on the simulator: they have one thread
  clang     debug build with clang++ and its thread-safety analysis; unit tests

Installs the Debian packages that are missing (apt, as root or with sudo) and builds in
build/PRESET. Options after the preset go to ctest: ./test.sh release -R gate -V
USAGE
}
preset=release
case "${1:-}" in
  release | asan | tsan | clang) preset=$1 && shift ;;
  -h | --help) usage && exit 0 ;;
  "" | -*) ;;
  *) usage >&2 && exit 2 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/setup.sh
source scripts/setup.sh

folkmoot_say "Folkmoot tests ($preset): packages, build, then ctest"
FOLKMOOT_PACKAGES+=(python3 chromium)  # clients of a live server; a browser for its page
folkmoot_packages
folkmoot_mpi
if [[ $preset == clang ]] && ! command -v clang++ >/dev/null; then
  folkmoot_fail "the preset 'clang' needs clang++: apt-get install clang"
fi
folkmoot_build "$preset"

# Tests that need the machine for themselves say so to ctest (PROCESSORS, RUN_SERIAL).
log=build/$preset/ctest.log
status=0
rm -f "build/$preset"/reports/*
ctest --preset "$preset" -j "$(nproc)" "$@" 2>&1 | tee "$log" || status=${PIPESTATUS[0]}
summary=$(grep -E '^[0-9]+% tests passed' "$log" | tail -n 1 || true)
if [[ -z $summary ]]; then
  summary="no tests ran: see $log"
  ((status != 0)) || status=1
fi
printf '%s\n' "$summary"
# A server goes on after a process that a sanitizer ended: cmake/FolkmootTest.cmake.
reports=$(find "build/$preset/reports" -type f | sort)
if [[ -n $reports ]]; then
  printf 'sanitizers report:\n%s\n' "$reports"
  ((status != 0)) || status=1
fi
exit "$status"
