#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Wrong command lines and broken models end with the right status and a message that names the culprit.
. "$(dirname "$0")/lib.sh"

expect_failure 2 "did you mean '--max-tokens'?" "$FOLKMOOT" generate "$DEMO" --prompt x --max-token 3
expect_failure 2 "did you mean 'generate'?" "$FOLKMOOT" generat "$DEMO"
expect_failure 2 "prompt" "$FOLKMOOT" generate "$DEMO"
expect_failure 2 "prompt that is not empty" "$FOLKMOOT" generate "$DEMO" --prompt ""
# Without GPU support, wrong usage; with it but without a GPU, a failure; both say what to do.
on_cuda=(generate "$DEMO" --prompt x --max-tokens 1 --device cuda)
case $("$FOLKMOOT" doctor --json) in
  *'"cuda": null'*) expect_failure 2 "--device cuda" "$FOLKMOOT" "${on_cuda[@]}" ;;
  *'"devices": []'*) expect_failure 1 "--device cuda" "$FOLKMOOT" "${on_cuda[@]}" ;;
  *) "$FOLKMOOT" "${on_cuda[@]}" >"$WORK/out" 2>"$WORK/err" || fail "--device cuda: $(head -c 300 "$WORK/err")" ;;
esac
expect_failure 2 "--temperature" "$FOLKMOOT" generate "$DEMO" --prompt x --temperature hot
expect_failure 1 "extra_policy" "$FOLKMOOT" generate "$DEMO" --prompt x --gate extra_polic=random
expect_failure 1 "top_k" "$FOLKMOOT" generate "$DEMO" --prompt x --gate top_k=99
expect_failure 1 "is a dense model" "$FOLKMOOT" generate "$GOLDENS/llama-classic" --prompt-ids 1 --gate top_k=1
expect_failure 1 "maximum context length" "$FOLKMOOT" generate "$DEMO" --prompt x --max-tokens 100000
expect_failure 1 "ids of this model are" "$FOLKMOOT" generate "$DEMO" --prompt-ids 1,999999 --max-tokens 2
expect_failure 1 "no-such-model" "$FOLKMOOT" generate "$WORK/no-such-model" --prompt x
expect_failure 1 "no-such-file" "$FOLKMOOT" generate "$DEMO" --prompt-file "$WORK/no-such-file"
expect_failure 1 "no-such-file" "$FOLKMOOT" score "$DEMO" --input "$WORK/no-such-file"

# Three ranks read the same line: one of them says what is wrong with it.
expect_one_complaint() {
  expect_failure "$1" "$2" mpirun -n 3 "$FOLKMOOT" "${@:3}"
  [ "$(grep -c '^folkmoot: ' "$WORK/err")" = 1 ] || fail "mpirun folkmoot ${*:3}: not said once: $(cat "$WORK/err")"
}
printf 'max-tokins: 3\n' >"$WORK/bad.yaml"
expect_one_complaint 2 "did you mean '--max-tokens'?" generate "$DEMO" --prompt x --max-token 3
expect_one_complaint 2 "did you mean 'generate'?" generat "$DEMO"
expect_one_complaint 2 "did you mean 'max-tokens'?" generate "$DEMO" --prompt x --config "$WORK/bad.yaml"
expect_one_complaint 2 "prompt that is not empty" generate "$DEMO" --prompt ""
expect_one_complaint 2 "did you mean 'top_k'?" serve "$DEMO" --port 0 --allow-gate-override top_kk
expect_one_complaint 1 "no-such-file" generate "$DEMO" --prompt-file "$WORK/no-such-file"
expect_one_complaint 1 "no-such-model" generate "$WORK/no-such-model" --prompt x
# A rank that is alone in its trouble speaks for itself.
expect_failure 2 "did you mean '--max-tokens'?" mpirun -n 1 "$FOLKMOOT" doctor : \
  -n 1 "$FOLKMOOT" generate "$DEMO" --prompt x --max-token 3

# Settings: command line over environment over file.
printf 'max-tokens: 3\ntemperature: 0\n' >"$WORK/config.yaml"
tokens() {
  "$FOLKMOOT" generate "$DEMO" --prompt "And God said" --json --config "$WORK/config.yaml" "$@" 2>/dev/null |
    grep -o '"completion_tokens":[0-9]*'
}
[ "$(tokens)" = '"completion_tokens":3' ] || fail "--config is not read: $(tokens)"
[ "$(FOLKMOOT_MAX_TOKENS=4 tokens)" = '"completion_tokens":4' ] || fail "environment over file"
[ "$(FOLKMOOT_MAX_TOKENS=4 tokens --max-tokens 5)" = '"completion_tokens":5' ] || fail "command line over environment"
expect_failure 2 "did you mean 'max-tokens'?" "$FOLKMOOT" generate "$DEMO" --prompt x --config "$WORK/bad.yaml"

# Lines of score.
score_line() { printf '%s\n' "$1" >"$WORK/line.jsonl"; }
score_line '{"token_ids": [1, 2'
expect_failure 1 "line 1: not valid JSON" "$FOLKMOOT" score "$DEMO" --input "$WORK/line.jsonl"
score_line '{"token_ids": [1, "a"]}'
expect_failure 1 "line 1: 'token_ids' holds" "$FOLKMOOT" score "$DEMO" --input "$WORK/line.jsonl"
score_line '{"token_ids": []}'
expect_failure 1 "line 1: the prompt is empty" "$FOLKMOOT" score "$DEMO" --input "$WORK/line.jsonl"
score_line '{"tokens": [1]}'
expect_failure 1 "unknown field 'tokens'" "$FOLKMOOT" score "$DEMO" --input "$WORK/line.jsonl"

# Broken models.
broken() {
  rm -rf "$WORK/model"
  cp -r "$DEMO" "$WORK/model"
}
broken
head -c 100000 "$DEMO/model.safetensors" >"$WORK/model/model.safetensors"
expect_failure 1 "model.safetensors" "$FOLKMOOT" generate "$WORK/model" --prompt x
broken
sed -i 's/"num_attention_heads": *[0-9]*/"num_attention_heads": 0/' "$WORK/model/config.json"
expect_failure 1 "num_attention_heads" "$FOLKMOOT" generate "$WORK/model" --prompt x
broken
sed -i 's/"moe_intermediate_size": *[0-9]*/"moe_intermediate_size": 999/' "$WORK/model/config.json"
expect_failure 1 "but config.json asks for" "$FOLKMOOT" generate "$WORK/model" --prompt x
broken
echo '{' >"$WORK/model/tokenizer.json"
expect_failure 1 "tokenizer.json" "$FOLKMOOT" generate "$WORK/model" --prompt x
broken
rm "$WORK/model/model.safetensors"
expect_failure 1 "model.safetensors" mpirun -n 3 "$FOLKMOOT" generate "$WORK/model" --prompt x
finish
