#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# folkmoot verify, doctor and inspect on the demo model, as the README shows them.
. "$(dirname "$0")/lib.sh"

# proves MODEL OPTIONS...: every variant has the same bits, and three of them were preempted.
proves() {
  "$FOLKMOOT" verify "$@" --ranks 1,3 --json >"$WORK/out" 2>"$WORK/err" || fail "verify $*: $(cat "$WORK/err" "$WORK/out")"
  grep -q '"same":true,"variants"' "$WORK/out" || fail "verify $*: $(cat "$WORK/out")"
  [ "$(grep -o 'preempted","same":true,"result":"same bits ([1-9]' "$WORK/out" | wc -l)" = 3 ] || fail "verify $*: nothing was preempted: $(cat "$WORK/out")"
}
proves "$DEMO" --max-tokens 4
[ "$(grep -o '([1-9][0-9]* cached tokens' "$WORK/out" | wc -l)" = 3 ] || fail "no prefix hits: $(cat "$WORK/out")"
proves "$GOLDENS/mixtral-classic"
proves "$GOLDENS/qwen2_moe-classic" --max-num-batched-tokens 32 --max-num-seqs 1 --prefill-chunk 5
proves "$GOLDENS/qwen2_moe-classic" --max-tokens 100
# A context of 32 tokens, and positions that depend on the length of the text: no page may be shared.
proves "$GOLDENS/mixtral-dynamic"
grep -q "prefix hits are not applicable" "$WORK/out" || fail "prefix hits of mixtral-dynamic: $(cat "$WORK/out")"
# No sequence of 17 tokens needs another page: what cannot be shown is not claimed.
expect_failure 1 "they prove nothing" "$FOLKMOOT" verify "$GOLDENS/mixtral-classic" --ranks 1,3 --max-tokens 4 --max-model-len 17
grep -q "nothing was preempted" "$WORK/out" || fail "verify claims a preemption: $(cat "$WORK/out")"
expect_failure 2 "--max-tokens" "$FOLKMOOT" verify "$DEMO" --max-tokens 3
# The numbers of a step depend on its batch when capacity is counted over the whole step: verify must notice.
"$FOLKMOOT" verify "$DEMO" --ranks 1,3 --max-tokens 4 --gate capacity=ceil_k,capacity_factor=0.5,group=step \
  >"$WORK/out" 2>"$WORK/err" && fail "verify found nothing with capacity over the step"
grep -q "is the first to differ" "$WORK/out" || fail "verify names no layer: $(cat "$WORK/out")"
expect_failure 2 "without mpirun" mpirun -n 2 "$FOLKMOOT" verify "$DEMO"
"$FOLKMOOT" doctor >"$WORK/out" 2>"$WORK/err" || fail "doctor: $(cat "$WORK/err")"
"$FOLKMOOT" inspect "$DEMO" --ranks 3 >"$WORK/out" 2>"$WORK/err" || fail "inspect: $(cat "$WORK/err")"
finish
