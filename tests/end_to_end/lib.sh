# SPDX-License-Identifier: Apache-2.0
# Shared by the end-to-end scripts: they run the real binary, alone and under mpirun, as a user would.
# Usage of a script: NAME.sh FOLKMOOT_BINARY SOURCE_DIR

set -u
FOLKMOOT=$1
SOURCE=$2
DEMO=$SOURCE/models/demo-kjv
GOLDENS=$SOURCE/tests/data/goldens
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
FAILURES=0

export OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none
if [ "$(id -u)" = 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# ranks N COMMAND...: under mpirun, or alone for 0.
ranks() {
  local n=$1
  shift
  if [ "$n" = 0 ]; then "$@"; else mpirun -n "$n" "$@"; fi
}

fail() {
  echo "FAILED: $*"
  FAILURES=$((FAILURES + 1))
}

# expect_failure STATUS TEXT COMMAND...: the command ends with STATUS and says TEXT on stderr, within 30 s.
expect_failure() {
  local status=$1 text=$2
  shift 2
  timeout 30 "$@" >"$WORK/out" 2>"$WORK/err"
  local actual=$?
  [ "$actual" = "$status" ] || fail "$*: exit status $actual, expected $status: $(head -c 300 "$WORK/err")"
  grep -qF -- "$text" "$WORK/err" || fail "$*: '$text' is not in: $(head -c 400 "$WORK/err")"
}

finish() {
  [ "$FAILURES" = 0 ] || exit 1
  echo "all as expected"
}
