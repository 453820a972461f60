#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A packed model is a whole model that answers as its origin does, also from codes and on ranks.
. "$(dirname "$0")/lib.sh"

# tokens RANKS MODEL FLAGS...: what the model writes, to $WORK/tokens.
tokens() {
  ranks "$1" "$FOLKMOOT" generate "$2" --prompt "In the beginning" --max-tokens 16 \
    --temperature 0 --json "${@:3}" >"$WORK/json" 2>"$WORK/err" || fail "generate $2: $(cat "$WORK/err")"
  grep -o '"token_ids":\[[0-9][^]]*]' "$WORK/json" >"$WORK/tokens" || fail "no tokens: $(cat "$WORK/json")"
}

for kind in none q4_0; do
  "$FOLKMOOT" pack "$DEMO" "$WORK/$kind" --quantization $kind >"$WORK/out" 2>"$WORK/err" ||
    fail "pack $kind: $(cat "$WORK/err")"
  grep -q "ready to be mapped" "$WORK/out" || fail "pack says: $(cat "$WORK/out")"
  [ -f "$WORK/$kind/tokenizer.json" ] || fail "pack $kind: no tokenizer.json"
  tokens 0 "$DEMO" --quantization $kind
  mv "$WORK/tokens" "$WORK/wanted"
  for n in 0 3; do
    tokens $n "$WORK/$kind"
    cmp "$WORK/wanted" "$WORK/tokens" || fail "$kind on $n ranks answers otherwise"
  done
done

"$FOLKMOOT" inspect "$WORK/q4_0" >"$WORK/out" 2>"$WORK/err" || fail "inspect: $(cat "$WORK/err")"
grep -q "packed weights" "$WORK/out" || fail "inspect does not know a packed model: $(cat "$WORK/out")"
expect_failure 1 "is there already" "$FOLKMOOT" pack "$DEMO" "$WORK/none"
expect_failure 1 "packed weights stay as they are" "$FOLKMOOT" generate "$WORK/none" --prompt a --dtype float32
expect_failure 1 "config.json" "$FOLKMOOT" pack "$WORK" "$WORK/new"
expect_failure 1 "pack takes a directory" "$FOLKMOOT" pack "$SOURCE/tests/data/gguf/mixtral-classic.gguf" "$WORK/new"
[ -z "$(find "$WORK" -name '*new*')" ] || fail "a failed pack left something: $(ls -a "$WORK")"
head -c 20000 "$WORK/q4_0/model.panels" >"$WORK/cut" && mv "$WORK/cut" "$WORK/q4_0/model.panels"
expect_failure 1 "is not a whole packed model" "$FOLKMOOT" generate "$WORK/q4_0" --prompt a
finish
