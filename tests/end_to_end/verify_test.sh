#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# folkmoot verify, doctor and inspect on the demo model, as the README shows them.
. "$(dirname "$0")/lib.sh"

"$FOLKMOOT" verify "$DEMO" --ranks 1,3 --max-tokens 4 --json >"$WORK/out" 2>"$WORK/err" || fail "verify: $(cat "$WORK/err")"
grep -q '"same":true,"variants"' "$WORK/out" || fail "verify: $(cat "$WORK/out")"
grep -q 'preempted","same":true,"result":"same bits ([1-9]' "$WORK/out" || fail "nothing was preempted: $(cat "$WORK/out")"
# The numbers of a step depend on its batch when capacity is counted over the whole step: verify must notice.
"$FOLKMOOT" verify "$DEMO" --ranks 1,3 --max-tokens 4 --gate capacity=ceil_k,capacity_factor=0.5,group=step \
  >"$WORK/out" 2>"$WORK/err" && fail "verify found nothing with capacity over the step"
grep -q "is the first to differ" "$WORK/out" || fail "verify names no layer: $(cat "$WORK/out")"
expect_failure 2 "without mpirun" mpirun -n 2 "$FOLKMOOT" verify "$DEMO"
"$FOLKMOOT" doctor >"$WORK/out" 2>"$WORK/err" || fail "doctor: $(cat "$WORK/err")"
"$FOLKMOOT" inspect "$DEMO" --ranks 3 >"$WORK/out" 2>"$WORK/err" || fail "inspect: $(cat "$WORK/err")"
finish
