#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A rank that dies, or that was started with other files, ends the job within seconds with an error that names it.
. "$(dirname "$0")/lib.sh"

# kill_one FLAG...: kills one of three ranks in the middle of long work.
kill_one() {
  rm -f "$WORK/out"
  mpirun -n 3 "$FOLKMOOT" score "$DEMO" --input "$WORK/long.jsonl" "$@" >"$WORK/out" 2>"$WORK/err" &
  local job=$!
  for _ in $(seq 200); do
    [ -s "$WORK/out" ] && break
    sleep 0.05
  done
  [ -s "$WORK/out" ] || fail "nothing was scored: $(cat "$WORK/err")"
  local victim
  victim=$(pgrep -P "$job" -x folkmoot | tail -n 1)
  kill -9 "$victim" || fail "no rank to kill"
  local killed=$SECONDS
  wait "$job"
  STATUS=$?
  [ $((SECONDS - killed)) -le 8 ] || fail "the job went on for $((SECONDS - killed)) s"
  [ "$(wc -l <"$WORK/out")" -lt "$LINES" ] || fail "the work was done before the rank died"
  pgrep -f "$WORK/long.jsonl" >/dev/null && fail "a rank is left behind"
  echo "mpirun ended with status $STATUS"
}

LINES=4000
for _ in $(seq $LINES); do
  echo '{"token_ids": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]}'
done >"$WORK/long.jsonl"

kill_one
[ "$STATUS" != 0 ] || fail "the job ended with status 0"
# mpirun reports the status of the rank that the signal killed; what the others know is on stderr.
grep -Eq "folkmoot: error: rank [01]: .*rank 2 \(pid [0-9]+ on .*\) is gone" "$WORK/err" ||
  fail "the dead rank is not named: $(cat "$WORK/err")"

kill_one --parallelism tensor
[ "$STATUS" != 0 ] || fail "the tensor-parallel job ended with status 0"
grep -Eq "folkmoot: error: rank [01]: .*rank 2 \(pid [0-9]+ on .*\) is gone" "$WORK/err" ||
  fail "the dead tensor-parallel rank is not named: $(cat "$WORK/err")"

# Rank 1 has other files.
cp -r "$DEMO" "$WORK/rank0"
cp -r "$DEMO" "$WORK/rank1"
sed -i 's/"rms_norm_eps": *[0-9.e-]*/"rms_norm_eps": 0.5/' "$WORK/rank1/config.json"
cat >"$WORK/start.sh" <<EOF
#!/bin/sh
exec "$FOLKMOOT" generate "$WORK/rank\$OMPI_COMM_WORLD_RANK" --prompt And --max-tokens 3
EOF
chmod +x "$WORK/start.sh"
expect_failure 1 "rank 1 differs from rank 0 in config.json" mpirun -n 2 "$WORK/start.sh"

# Rank 1 has weights of another training.
cp "$DEMO/config.json" "$WORK/rank1/config.json"
dd if=/dev/urandom of="$WORK/rank1/model.safetensors" bs=1M seek=1 count=6 conv=notrunc 2>/dev/null
expect_failure 1 "rank 1 differs from rank 0 in weights" mpirun -n 2 "$WORK/start.sh"

# Rank 1 runs another build: the same program with a byte added.
cp "$DEMO/model.safetensors" "$WORK/rank1/model.safetensors"
cp "$FOLKMOOT" "$WORK/other"
echo >>"$WORK/other"
sed "s|\"$FOLKMOOT\"|\$([ \$OMPI_COMM_WORLD_RANK = 1 ] \&\& echo $WORK/other \|\| echo $FOLKMOOT)|" \
  "$WORK/start.sh" >"$WORK/builds.sh"
chmod +x "$WORK/builds.sh"
expect_failure 1 "rank 1 differs from rank 0 in program file" mpirun -n 2 "$WORK/builds.sh"

# Rank 1 has no model at all.
rm -r "$WORK/rank1"
expect_failure 1 "rank 1: " mpirun -n 2 "$WORK/start.sh"
finish
