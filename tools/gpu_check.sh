#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that needs a GPU, in one go and within 8 minutes, from a bundle of tools/gpu_bundle.sh:
# doctor, the tests of all kernels and of the model, end to end against the CPU, NCCL with two
# processes on one GPU, bench moe (also beside PyTorch, Transformers and a Triton kernel), bench
# throughput, a profile of single kernels, and compute-sanitizer. Writes a report for docs/gpu-evidence/, and beside it all that
# the steps printed (..-outputs.tgz). Exit status 0: nothing failed; what could not run is listed as
# skipped.
#
#   tools/gpu_check.sh [BUNDLE [REPORT [PARTS]]]      default: build/gpu-bundle gpu-check.txt all
#                      BUNDLE: the folder, or its .tar.xz
#                      PARTS: some of "doctor tests model nccl moe peers throughput profile sanitizer"
set -u
cd "$(dirname "$0")/.." || exit 1
REPORT=${2:-gpu-check.txt}
PARTS=${3:-doctor tests model nccl moe peers throughput profile sanitizer}
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
# NVIDIA's libraries often come with Python packages.
export VIRTUAL_ENV=${VIRTUAL_ENV:-$(python3 -c 'import sys; print(sys.prefix)' 2>/dev/null)}
export FOLKMOOT=$BUNDLE/bin/folkmoot
export DEMO=models/demo-kjv

# The tests know their data by the path of the tree that they were built in.
SOURCE=$(cat "$BUNDLE/source_dir")
if [ ! -e "$SOURCE" ]; then mkdir -p "$(dirname "$SOURCE")" && ln -s "$PWD" "$SOURCE"; fi

say() { printf '%s\n' "$*" | tee -a "$REPORT"; }
left() { echo $((BUDGET - (SECONDS - BEGIN))); }

# run_step NUMBER SECONDS COMMAND...: runs it for at most so long; its output, status and seconds
# stay in files.
run_step() {
  local files=$WORK/step-$1 most=$2 begin=$SECONDS
  shift 2
  [ "$(type -t "$1")" = function ] && set -- bash -c "$1"
  timeout -k 5 "$most" "$@" >"$files.out" 2>&1
  echo $? >"$files.status"
  echo $((SECONDS - begin)) >"$files.seconds"
}

# report_step NUMBER NAME LINES: says how it went, with its last lines.
report_step() {
  local files=$WORK/step-$1 lines=$3 word=OK
  local status
  status=$(cat "$files.status")
  if [ "$status" != 0 ]; then
    word="FAILED ($status)"
    lines=$((lines + 30))
    FAILED=$((FAILED + 1))
  fi
  say "$word $2 ($(cat "$files.seconds") s)"
  tail -n "$lines" "$files.out" | sed 's/^/    /' | tee -a "$REPORT"
}

# step NAME SECONDS LINES COMMAND...: one of the list; runs at once, or with the others of its group
# when `end_group` comes.
STEPS=0
GROUP=()
IN_GROUP=0
step() {
  local name=$1 most=$2 lines=$3 budget
  shift 3
  budget=$(left)
  if [ "$budget" -lt 5 ]; then say "SKIPPED $name: the time is used up"; return; fi
  [ "$budget" -lt "$most" ] && most=$budget
  STEPS=$((STEPS + 1))
  if [ "$IN_GROUP" = 1 ]; then
    GROUP+=("$STEPS" "$name" "$lines")
    while [ "$(jobs -rp | wc -l)" -ge "$SIDE_BY_SIDE" ]; do wait -n; done
    run_step "$STEPS" "$most" "$@" &
  else
    run_step "$STEPS" "$most" "$@"
    report_step "$STEPS" "$name" "$lines"
  fi
}

# What only has to be right runs side by side, as many steps as leave each a few cores.
SIDE_BY_SIDE=$(($(nproc) / 2))
[ "$SIDE_BY_SIDE" -lt 1 ] && SIDE_BY_SIDE=1
begin_group() { GROUP=() IN_GROUP=1; }
end_group() {
  wait
  IN_GROUP=0
  for ((i = 0; i < ${#GROUP[@]}; i += 3)); do
    report_step "${GROUP[i]}" "${GROUP[i + 1]}" "${GROUP[i + 2]}"
  done
}

wanted() { case " $PARTS " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

generate() {  # FLAGS...: the ids of a greedy continuation
  "$FOLKMOOT" generate "$DEMO" --prompt "And the LORD said unto" --max-tokens 24 --temperature 0 --json "$@" |
    grep -o '"token_ids":\[[0-9,]*\]'
}

same_as_cpu() {
  local cpu gpu
  cpu=$(generate --device cpu) || return 1
  for flags in "" "--enforce-eager" "--batch-invariant" "--wgmma-attention" "--gate extra_policy=random" "--dtype float32"; do
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

peers() {  # what others need for the same layers
  local shape
  for shape in qwen3-30b-a3b mixtral-8x7b deepseek-v3; do
    "$FOLKMOOT" bench moe --shape "$shape" --seconds 0.05 --json >"$WORK/$shape.json" || return 1
  done
  env -u LD_LIBRARY_PATH python3 tools/gpu_peers --budget 75 --ours "$WORK"/*.json
}

profile() {  # single kernels, one by one, caches emptied before each
  qwen3_shape "$WORK/qwen3-small" 2
  ncu --clock-control none --csv --page raw \
    --metrics gpu__time_duration.sum,dram__bytes.sum.per_second --launch-count 600 \
    "$FOLKMOOT" bench throughput "$WORK/qwen3-small" --device cuda --enforce-eager --load-format dummy \
    --max-model-len 9216 --max-num-seqs 64 --max-num-batched-tokens 8192 --prefill 512,8192 --decode 1,8,32 \
    --decode-context 1024 --decode-tokens 3 --repetitions 1 >"$WORK/profile.csv" 2>&1 || return 1
  python3 tools/gpu_profile.py "$WORK/profile.csv"
}

qwen3_shape() {  # FOLDER LAYERS
  mkdir -p "$1"
  cat >"$1/config.json" <<JSON
{"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "attention_bias": false,
 "decoder_sparse_step": 1, "dtype": "bfloat16", "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu",
 "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960, "mlp_only_layers": [],
 "moe_intermediate_size": 768, "norm_topk_prob": true, "num_attention_heads": 32, "num_experts": 128,
 "num_experts_per_tok": 8, "num_hidden_layers": $2, "num_key_value_heads": 4, "rms_norm_eps": 1e-06,
 "rope_theta": 1000000.0, "tie_word_embeddings": false, "vocab_size": 151936}
JSON
}

export WORK
export -f generate same_as_cpu two_ranks_one_gpu peers profile qwen3_shape

: >"$REPORT"
say "# GPU check"
say "commit $(cat "$BUNDLE/commit")"
say "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo 'no nvidia-smi')"
say ""
wanted doctor && step "doctor" 30 40 "$FOLKMOOT" doctor
# It asks twice how much memory is free, so nothing may run beside it.
wanted tests && step "cuda_device_test_gpu" 90 3 "$BUNDLE/bin/cuda_device_test_gpu" --gtest_brief=1
begin_group
if wanted tests; then
  for test in "$BUNDLE"/bin/gpu_*_test_cuda "$BUNDLE"/bin/cuda_*_test_gpu "$BUNDLE"/bin/device_gate_test_gpu; do
    [ "$(basename "$test")" = cuda_device_test_gpu ] && continue
    [ -x "$test" ] && step "$(basename "$test")" 90 3 "$test" --gtest_brief=1
  done
fi
wanted model && step "the demo model says what it says on the CPU" 60 6 same_as_cpu
if wanted nccl; then
  if command -v mpirun >/dev/null; then
    step "two ranks on one GPU over NCCL" 60 3 two_ranks_one_gpu
  else
    say "SKIPPED two ranks on one GPU over NCCL: no mpirun"
  fi
fi
end_group
if wanted moe; then
  for shape in qwen3-30b-a3b mixtral-8x7b deepseek-v3; do
    step "bench moe $shape" 40 20 "$FOLKMOOT" bench moe --shape "$shape" --seconds 0.05
  done
  step "bench moe qwen3-30b-a3b, experts in FP8" 30 20 \
    "$FOLKMOOT" bench moe --shape qwen3-30b-a3b --fp8-experts --seconds 0.05
fi
if wanted peers; then
  if python3 -c "import torch, triton" 2>/dev/null; then
    step "the layers of bench moe by others" 110 75 peers
  else
    say "SKIPPED the layers of bench moe by others: python3 has no torch and triton"
  fi
fi
if wanted throughput; then
  qwen3_shape "$WORK/qwen3" "${GPU_CHECK_LAYERS:-48}"
  step "bench throughput, Qwen3-30B-A3B with random weights" 150 20 "$FOLKMOOT" bench throughput "$WORK/qwen3" \
    --device cuda --load-format dummy --max-model-len 9216 --max-num-seqs 64 --max-num-batched-tokens 8192 \
    --prefill 512,8192 --decode 1,8,32 --decode-context 1024 --repetitions 1
fi
if wanted profile; then
  if command -v ncu >/dev/null; then
    step "kernels of that shape, 2 layers" 60 150 profile
  else
    say "SKIPPED a profile of single kernels: no ncu"
  fi
fi
if wanted sanitizer; then
  SANITIZER=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
  if [ -n "$SANITIZER" ]; then
    begin_group
    for tool in memcheck racecheck; do
      for test in rows routing attention gemm expert_ffn; do
        test=$BUNDLE/bin/cuda_${test}_test_gpu
        [ -x "$test" ] && step "$tool $(basename "$test")" 90 3 "$SANITIZER" --tool "$tool" --error-exitcode 9 "$test" \
          --gtest_brief=1
      done
    done
    end_group
  else
    say "SKIPPED compute-sanitizer: not found"
  fi
fi
say ""
say "$FAILED failed, $((SECONDS - BEGIN)) s"
(cd "$WORK" && tar -czf step-outputs.tgz step-*.out) && mv "$WORK/step-outputs.tgz" "${REPORT%.txt}-outputs.tgz"
[ "$FAILED" = 0 ]
