#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Guesses change nothing that generate prints but the count of them.
. "$(dirname "$0")/lib.sh"

REPEATED="And God said, Let there be light: and there was light. And God said, Let there be light: and there was"

# without_counts FILE: the JSON of generate as it is without guesses; the counts go to $WORK/counts.
without_counts() {
  grep -o '"speculation":{[^}]*}' "$1" >"$WORK/counts" || fail "no counts of guesses: $(cat "$1")"
  sed -i 's/,"speculation":{[^}]*}//' "$1"
}

# same_with NAME FLAGS...: for 0, 1 and 3 processes, with the arguments in "${ARGUMENTS[@]}".
same_with() {
  local name=$1
  shift
  "$FOLKMOOT" generate "$DEMO" "${ARGUMENTS[@]}" --json >"$WORK/plain" 2>"$WORK/err" || fail "$name: $(cat "$WORK/err")"
  for n in 0 3; do
    ranks $n "$FOLKMOOT" generate "$DEMO" "${ARGUMENTS[@]}" --json "$@" >"$WORK/guessed" 2>"$WORK/err" ||
      fail "$name, $n ranks: $(cat "$WORK/err")"
    without_counts "$WORK/guessed"
    cmp "$WORK/plain" "$WORK/guessed" || fail "$name: $n ranks differ: $(cat "$WORK/plain" "$WORK/guessed")"
    grep -q '"accepted":[1-9]' "$WORK/counts" || fail "$name, $n ranks: nothing was accepted: $(cat "$WORK/counts")"
  done
}

chunks="extra_policy=random,capacity=ceil_k,capacity_factor=1.0,group=sequence_chunk,group_size=8,priority=token_major"
ARGUMENTS=(--prompt "$REPEATED" --max-tokens 40 --temperature 0)
same_with "greedy, look-up" --speculative-method ngram
same_with "greedy, draft model" --speculative-model "$DEMO"
ARGUMENTS=(--prompt "$REPEATED" --max-tokens 40 --temperature 0 --gate "$chunks")
same_with "greedy with capacity, look-up" --num-speculative-tokens 6
ARGUMENTS=(--prompt "$REPEATED" --max-tokens 40 --temperature 0.7 --seed 5 --stop " the")
same_with "drawn up to a stop string, draft model" --speculative-model "$DEMO" --speculative-tokens 8

"$FOLKMOOT" generate "$DEMO" --prompt "$REPEATED" --speculative-tokens 4 --temperature 0 >"$WORK/out" 2>"$WORK/err" ||
  fail "generate: $(cat "$WORK/err")"
grep -q "guesses accepted" "$WORK/err" || fail "no line on guesses: $(cat "$WORK/err")"
"$FOLKMOOT" bench throughput "$DEMO" --speculative-tokens 4 --prefill 16 --decode 2 --decode-tokens 24 --repetitions 1 \
  >"$WORK/out" 2>"$WORK/err" || fail "bench throughput: $(cat "$WORK/err")"
grep -Eq "decode 2: [0-9]+ of [0-9]+ guesses accepted" "$WORK/out" || fail "bench throughput: $(cat "$WORK/out")"

expect_failure 2 "--speculative-model" "$FOLKMOOT" generate "$DEMO" --prompt x --speculative-method draft
expect_failure 2 "not for ngram" "$FOLKMOOT" generate "$DEMO" --prompt x --speculative-method ngram --speculative-model "$DEMO"
expect_failure 2 "--prompt-lookup-min 5" "$FOLKMOOT" generate "$DEMO" --prompt x --speculative-tokens 2 --prompt-lookup-min 5
expect_failure 1 "vocabulary" "$FOLKMOOT" generate "$DEMO" --prompt x --speculative-model "$GOLDENS/mixtral-classic"
expect_failure 1 "class 'step'" "$FOLKMOOT" generate "$DEMO" --prompt x --speculative-tokens 2 --gate capacity=ceil_k,group=step
finish
