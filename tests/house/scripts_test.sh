#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: scripts_test.sh REPOSITORY. The shell scripts parse, refuse wrong usage with status 2, and
# say what is missing when they can neither be root nor use sudo.
set -euo pipefail
cd "$1"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

scripts=(quickstart.sh test.sh .ci/run scripts/*.sh tools/fuzz.sh)
for script in "${scripts[@]}"; do
  bash -n "$script" || fail "$script does not parse"
done
for script in quickstart.sh test.sh .ci/run tools/fuzz.sh; do
  [[ -x $script ]] || fail "$script is not executable"
done
if command -v shellcheck >/dev/null; then
  shellcheck -x "${scripts[@]}" || fail "shellcheck"
else
  echo "shellcheck is not installed: the scripts were only parsed"
fi

expect_usage_error() {
  local status=0
  "$@" >/dev/null 2>&1 || status=$?
  ((status == 2)) || fail "$* exited with $status, not 2"
}
expect_usage_error ./quickstart.sh --no-such-option
expect_usage_error ./quickstart.sh one two
expect_usage_error ./test.sh no-such-preset
expect_usage_error tools/fuzz.sh gguf
expect_usage_error tools/fuzz.sh no-such-target 1
[[ $(./quickstart.sh --help) == usage:* ]] || fail "quickstart.sh --help"
[[ $(./test.sh --help) == usage:* ]] || fail "test.sh --help"
[[ $(tools/fuzz.sh --help) == usage:* ]] || fail "tools/fuzz.sh --help"

# shellcheck source=../../scripts/setup.sh
source scripts/setup.sh
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT

# A package that no system has, and no way to become root: the message names the package.
if ((EUID != 0)) || command -v setpriv >/dev/null; then
  printf '#!/bin/sh\nexit 1\n' >"$empty/dpkg-query"
  printf '#!/bin/sh\necho "apt-get must not run"\nexit 1\n' >"$empty/apt-get"
  chmod +x "$empty"/* && chmod 755 "$empty"
  drop=()
  ((EUID == 0)) && drop=("$(command -v setpriv)" --reuid=65534 --regid=65534 --clear-groups)
  status=0
  message=$("${drop[@]}" env PATH="$empty" "$BASH" -c \
    "$(declare -f); $(declare -p FOLKMOOT_PACKAGES); folkmoot_packages" 2>&1) || status=$?
  ((status == 1)) || fail "without root and sudo the status is $status: $message"
  [[ $message == *"build-essential"*"needs root"* ]] || fail "without root and sudo: $message"
fi

# Where everything is installed, apt must not even be called.
printf '#!/bin/sh\nfor p in %s; do printf "%%s=installed " $p; done\n' \
  "${FOLKMOOT_PACKAGES[*]}" >"$empty/dpkg-query"
printf '#!/bin/sh\necho "apt-get was called" >&2\nexit 1\n' >"$empty/apt-get"
chmod +x "$empty"/*
message=$(PATH="$empty:$PATH" folkmoot_packages 2>&1) || fail "all installed, but: $message"
[[ $message == *"are installed"* ]] || fail "all installed, but: $message"

(
  unset "${!OMPI_MCA_@}" "${!OMPI_ALLOW_@}"
  folkmoot_mpi
  [[ $OMPI_MCA_rmaps_base_oversubscribe == 1 ]] || fail "ranks may not share cores"
  if ((EUID == 0)); then
    [[ $OMPI_ALLOW_RUN_AS_ROOT_CONFIRM == 1 ]] || fail "root may not run mpirun"
  else
    [[ -z ${OMPI_ALLOW_RUN_AS_ROOT:-} ]] || fail "OMPI_ALLOW_RUN_AS_ROOT is set without need"
  fi
)
jobs=$(folkmoot_jobs)
((jobs >= 1 && jobs <= $(nproc))) || fail "folkmoot_jobs says $jobs"
echo "scripts: passed"
