#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that needs a GPU, in one go and within 8 minutes, from a bundle of tools/gpu_bundle.sh:
# doctor, the tests of all kernels and of the model, end to end against the CPU, compute-sanitizer,
# NCCL with two processes on one GPU, bench moe and bench throughput. Writes a report for
# docs/gpu-evidence/. Exit status 0: nothing failed (what could not run is listed as skipped).
#
#   tools/gpu_check.sh [BUNDLE [REPORT]]      default: build/gpu-bundle gpu-check.txt
#                      BUNDLE: the folder, or its .tar.xz
set -u
cd "$(dirname "$0")/.." || exit 1
REPORT=${2:-gpu-check.txt}
BUDGET=${GPU_CHECK_SECONDS:-470}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
BUNDLE=${1:-build/gpu-bundle}
if [ -f "$BUNDLE" ]; then
  mkdir "$WORK/bundle" && tar -C "$WORK/bundle" -xf "$BUNDLE" || exit 1
  BUNDLE=$WORK/bundle
fi
BUNDLE=$(cd "$BUNDLE" && pwd) || exit 1
BEGIN=$SECONDS
FAILED=0
export PATH="$BUNDLE/bin:$PATH"  # its mpirun
export LD_LIBRARY_PATH="$BUNDLE/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export FOLKMOOT=$BUNDLE/bin/folkmoot
export DEMO=models/demo-kjv

# The tests know their data by the path of the tree that they were built in.
SOURCE=$(cat "$BUNDLE/source_dir")
if [ ! -e "$SOURCE" ]; then mkdir -p "$(dirname "$SOURCE")" && ln -s "$PWD" "$SOURCE"; fi

say() { printf '%s\n' "$*" | tee -a "$REPORT"; }
left() { echo $((BUDGET - (SECONDS - BEGIN))); }

# step NAME SECONDS LINES COMMAND...: runs it for at most so long, reports its last lines.
step() {
  local name=$1 most=$2 lines=$3
  shift 3
  local budget
  budget=$(left)
  if [ "$budget" -lt 5 ]; then say "SKIPPED $name: the time is used up"; return; fi
  [ "$budget" -lt "$most" ] && most=$budget
  local begin=$SECONDS
  [ "$(type -t "$1")" = function ] && set -- bash -c "$1"
  timeout -k 5 "$most" "$@" >"$WORK/out" 2>&1
  local status=$?
  local word=OK
  if [ "$status" != 0 ]; then word="FAILED ($status)"; FAILED=$((FAILED + 1)); fi
  say "$word $name ($((SECONDS - begin)) s)"
  [ "$status" = 0 ] || lines=$((lines + 30))
  tail -n "$lines" "$WORK/out" | sed 's/^/    /' | tee -a "$REPORT"
}

generate() {  # FLAGS...: the ids of a greedy continuation
  "$FOLKMOOT" generate "$DEMO" --prompt "And the LORD said unto" --max-tokens 24 --temperature 0 --json "$@" |
    grep -o '"token_ids":\[[0-9,]*\]'
}

same_as_cpu() {
  local cpu gpu
  cpu=$(generate --device cpu) || return 1
  for flags in "" "--enforce-eager" "--batch-invariant" "--gate extra_policy=random" "--dtype float32"; do
    # shellcheck disable=SC2086
    gpu=$(generate --device cuda $flags) || return 1
    echo "$flags: $gpu"
    case $flags in --gate*) continue ;; esac
    [ "$gpu" = "$cpu" ] || { echo "differs from the CPU: $cpu"; return 1; }
  done
}

two_ranks_one_gpu() {
  local alone together
  alone=$(generate --device cuda --batch-invariant) || return 1
  # shellcheck disable=SC2016  # each rank's own variable
  together=$(mpirun --allow-run-as-root --oversubscribe -n 2 sh -c \
    'NCCL_HOSTID=rank$OMPI_COMM_WORLD_RANK NCCL_SOCKET_IFNAME=lo NCCL_IB_DISABLE=1 exec "$@"' sh \
    "$FOLKMOOT" generate "$DEMO" --prompt "And the LORD said unto" --max-tokens 24 --temperature 0 --json \
    --device cuda --batch-invariant --allow-shared-gpu --gpu-memory-utilization 0.4 |
    grep -o '"token_ids":\[[0-9,]*\]') || return 1
  echo "$together"
  [ "$alone" = "$together" ] || { echo "one rank: $alone"; return 1; }
}

export -f generate same_as_cpu two_ranks_one_gpu

qwen3_shape() {  # FOLDER
  mkdir -p "$1"
  cat >"$1/config.json" <<'JSON'
{"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "attention_bias": false,
 "decoder_sparse_step": 1, "dtype": "bfloat16", "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu",
 "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960, "mlp_only_layers": [],
 "moe_intermediate_size": 768, "norm_topk_prob": true, "num_attention_heads": 32, "num_experts": 128,
 "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4, "rms_norm_eps": 1e-06,
 "rope_theta": 1000000.0, "tie_word_embeddings": false, "vocab_size": 151936}
JSON
}

: >"$REPORT"
say "# GPU check"
say "commit $(cat "$BUNDLE/commit")"
say "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo 'no nvidia-smi')"
say ""
step "doctor" 30 40 "$FOLKMOOT" doctor
for test in "$BUNDLE"/bin/cuda_*_test_gpu "$BUNDLE"/bin/device_gate_test_gpu "$BUNDLE"/bin/gpu_*_test_cuda; do
  [ -x "$test" ] && step "$(basename "$test")" 90 3 "$test" --gtest_brief=1
done
step "the demo model says what it says on the CPU" 60 6 same_as_cpu
if command -v mpirun >/dev/null; then
  step "two ranks on one GPU over NCCL" 60 3 two_ranks_one_gpu
else
  say "SKIPPED two ranks on one GPU over NCCL: no mpirun"
fi
for shape in qwen3-30b-a3b mixtral-8x7b deepseek-v3; do
  step "bench moe $shape" 40 20 "$FOLKMOOT" bench moe --shape "$shape" --seconds 0.05
done
qwen3_shape "$WORK/qwen3"
step "bench throughput, Qwen3-30B-A3B with random weights" 150 20 "$FOLKMOOT" bench throughput "$WORK/qwen3" \
  --device cuda --load-format dummy --max-model-len 4096 --max-num-seqs 64 --max-num-batched-tokens 2048 \
  --repetitions 1
SANITIZER=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
if [ -n "$SANITIZER" ]; then
  for tool in memcheck racecheck; do
    for test in "$BUNDLE"/bin/cuda_rows_test_gpu "$BUNDLE"/bin/cuda_routing_test_gpu \
                "$BUNDLE"/bin/cuda_attention_test_gpu "$BUNDLE"/bin/cuda_gemm_test_gpu \
                "$BUNDLE"/bin/cuda_expert_ffn_test_gpu; do
      [ -x "$test" ] && step "$tool $(basename "$test")" 30 3 "$SANITIZER" --tool "$tool" --error-exitcode 9 "$test" \
        --gtest_brief=1
    done
  done
else
  say "SKIPPED compute-sanitizer: not found"
fi
say ""
say "$FAILED failed, $((SECONDS - BEGIN)) s"
[ "$FAILED" = 0 ]
