#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: rank_death_test.sh MPIEXEC PROGRAM SIGNAL STATUS
# Sends SIGNAL to rank 2 of three ranks that exchange for ever. The others must name it on standard
# error, mpirun must end within 5 s with a status that matches STATUS ("any" for any but 0), and no
# rank may be left.
set -u
mpiexec=$1 program=$2 signal=$3 wanted=$4
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
fail() {
  echo "FAILED: $1"
  echo "--- standard output" && cat "$directory/out"
  echo "--- standard error" && cat "$directory/err"
  exit 1
}

: >"$directory/out"
"$mpiexec" --oversubscribe --bind-to none -n 3 "$program" \
  >"$directory/out" 2>"$directory/err" &
job=$!
tries=0
while [ "$(grep -c '^rank . pid' "$directory/out")" -lt 3 ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 600 ] || fail "the ranks did not start within 60 s"
  sleep 0.1
done
victim=$(sed -n 's/^rank 2 pid //p' "$directory/out")

start=$(date +%s%N)
kill -s "$signal" "$victim" || fail "rank 2 was gone before its time"
wait "$job"
status=$?
milliseconds=$((($(date +%s%N) - start) / 1000000))

[ "$milliseconds" -lt 5000 ] || fail "the job took $milliseconds ms to end"
if [ "$wanted" = any ]; then
  [ "$status" -ne 0 ] || fail "exit status 0"
else
  [ "$status" -eq "$wanted" ] || fail "exit status $status instead of $wanted"
fi
grep -q "^error: rank [01]: layer 3 dispatch of step [0-9]*: .*rank 2 .*pid $victim on " \
  "$directory/err" || fail "no survivor named rank 2, pid $victim"

# A zombie that nobody has collected yet is no process any more.
running() {
  for pid in $(sed -n 's/^rank . pid //p' "$directory/out"); do
    grep -q '^State:[[:space:]]*[^ZX]' "/proc/$pid/status" 2>/dev/null && return 0
  done
  return 1
}
tries=0
while running; do
  tries=$((tries + 1))
  [ "$tries" -lt 20 ] || fail "a rank is still running 2 s after the end of the job"
  sleep 0.1
done
named=$(grep -c '^error: rank [01]: .*rank 2 ' "$directory/err")
echo "SIG$signal: ended after $milliseconds ms with status $status; $named survivors named rank 2"
