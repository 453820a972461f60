#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: mpi_regroup_test.sh MPIEXEC PROGRAM RANKS SPARES HOW VICTIM...
# Ends the victims of a group of RANKS, one after the other, and demands that the others and the
# spare processes that take their places go on. The status of mpirun means nothing here: with
# recovery it is 0 whatever happens.
set -u
mpiexec=$1 program=$2 ranks=$3 spares=$4
shift 4
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

timeout 100 "$mpiexec" --oversubscribe --bind-to none --enable-recovery \
  -n $((ranks + spares)) "$program" "$spares" "$@" >"$directory/out" 2>"$directory/err"
status=$?
well=$(grep -c '^well: process [0-9]*, rank [0-9]' "$directory/out")
if [ "$status" -ne 0 ] || [ "$well" -ne "$ranks" ] || grep -q '^error' "$directory/err"; then
  echo "FAILED: $well of $ranks ranks ended well, status $status"
  cat "$directory/out" "$directory/err"
  exit 1
fi
echo "$ranks ranks, $*: all well"
