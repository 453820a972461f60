#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A rank that dies, or that was started with other files, ends the job within seconds with an error that names it.
. "$(dirname "$0")/lib.sh"

# Kills one of three ranks in the middle of a long generation. The extra arguments go to mpirun.
kill_one() {
  local started=$SECONDS
  mpirun "$@" -n 3 "$FOLKMOOT" generate "$DEMO" --prompt "And" --max-tokens 900 --ignore-eos \
    >"$WORK/out" 2>"$WORK/err" &
  local job=$!
  for _ in $(seq 100); do
    [ -s "$WORK/out" ] && break
    sleep 0.1
  done
  [ -s "$WORK/out" ] || fail "nothing was generated: $(cat "$WORK/err")"
  local victim
  victim=$(pgrep -P "$job" -x folkmoot | tail -n 1)
  kill -9 "$victim" || fail "no rank to kill"
  local killed=$SECONDS
  wait "$job"
  STATUS=$?
  [ $((SECONDS - killed)) -le 8 ] || fail "the job went on for $((SECONDS - killed)) s"
  [ "$STATUS" != 0 ] || fail "the job ended with status 0"
  pgrep -f "$FOLKMOOT generate $DEMO --prompt And" >/dev/null && fail "a rank is left behind"
  echo "killed after $((killed - started)) s, status $STATUS"
}

# mpirun itself kills the job when it sees the signal, so its status is that of the dead rank.
kill_one
# With recovery enabled the survivors speak: the one that notices ends the job with status 1.
kill_one --mca orte_enable_recovery 1
[ "$STATUS" = 1 ] || fail "status $STATUS with recovery, expected 1"
grep -q "is gone" "$WORK/err" || fail "the dead rank is not named: $(cat "$WORK/err")"

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

# Rank 1 has no model at all.
rm -r "$WORK/rank1"
expect_failure 1 "rank 1: " mpirun -n 2 "$WORK/start.sh"
finish
