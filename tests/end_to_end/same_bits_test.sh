#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The same command line gives the same bytes on stdout for any number of processes.
. "$(dirname "$0")/lib.sh"

cat >"$WORK/lines.jsonl" <<'EOF'
{"text": "In the beginning God created the heaven and the earth."}
{"text": "And it came to pass in those days"}
{"token_ids": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]}
{"token_ids": [7]}
EOF

same_for_all_ranks() {
  local name=$1
  shift
  ranks 0 "$FOLKMOOT" "$@" >"$WORK/alone" 2>"$WORK/err" || fail "$name alone: $(cat "$WORK/err")"
  [ -s "$WORK/alone" ] || fail "$name: no output"
  for n in 1 2 3 4; do
    ranks $n "$FOLKMOOT" "$@" >"$WORK/ranks" 2>"$WORK/err" || fail "$name, $n ranks: $(cat "$WORK/err")"
    cmp "$WORK/alone" "$WORK/ranks" || fail "$name: $n ranks differ from one process"
  done
  for n in 2 3; do
    ranks $n "$FOLKMOOT" "$@" --parallelism tensor >"$WORK/ranks" 2>"$WORK/err" ||
      fail "$name, $n tensor-parallel ranks: $(cat "$WORK/err")"
    cmp "$WORK/alone" "$WORK/ranks" || fail "$name: $n tensor-parallel ranks differ from one process"
  done
}

chunks="extra_policy=random,capacity=ceil_k,capacity_factor=1.0,group=sequence_chunk,group_size=8,priority=token_major"
same_for_all_ranks "score" score "$DEMO" --input "$WORK/lines.jsonl" --top-logprobs 3 --trace-routing
same_for_all_ranks "score with capacity" score "$DEMO" --input "$WORK/lines.jsonl" --trace-routing --gate "$chunks"
same_for_all_ranks "generate" generate "$DEMO" --prompt "And the LORD said" --max-tokens 24 --seed 3 --json
same_for_all_ranks "generate with a random second expert" \
  generate "$DEMO" --prompt "And the LORD said" --max-tokens 24 --json --gate extra_policy=random
same_for_all_ranks "dense" generate "$GOLDENS/llama-classic" --prompt-ids 1,2,3 --max-tokens 8 --temperature 0 --json
grep -q '"overflow":0' "$WORK/alone" || fail "a dense model has an empty receipt"

"$FOLKMOOT" generate "$DEMO" --prompt "And the LORD said" --max-tokens 24 --json --gate "$chunks" \
  >"$WORK/receipt" 2>/dev/null
grep -q '"layers":\[{"layer":' "$WORK/receipt" || fail "no receipt of drops: $(cat "$WORK/receipt")"
finish
