#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The page at "/" in a headless Chromium, before a server of three ranks and before one that wants a key.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

command -v python3 >/dev/null || {
  echo "SKIPPED: the page was NOT opened: it needs python3 and Chromium"
  exit 77
}

# serve RANKS FLAGS...: starts a server on a free port (0 ranks: without mpirun); sets URL and PID.
serve() {
  RANKS=$1
  shift
  local launcher=()
  [ "$RANKS" = 0 ] || launcher=(mpirun -n "$RANKS")
  "${launcher[@]}" "$FOLKMOOT" serve "$DEMO" --port 0 "$@" >"$WORK/serve.out" 2>"$WORK/serve.err" &
  PID=$!
  for _ in $(seq 600); do
    URL=$(sed -n 's/.*ready at \(http:[^ ]*\).*/\1/p' "$WORK/serve.err")
    [ -n "$URL" ] && return 0
    kill -0 "$PID" 2>/dev/null || break
    sleep 0.1
  done
  fail "the server does not start: $(head -c 600 "$WORK/serve.err")"
  kill "$PID" 2>/dev/null
  finish
}

# leave: SIGTERM to the one process, or to the ranks that mpirun started; the server's exit status.
leave() {
  if [ "$RANKS" = 0 ]; then kill -TERM "$PID"; else pkill -TERM -P "$PID"; fi
  wait "$PID"
}

open_page() {
  python3 "$SOURCE/tests/end_to_end/page_test.py" "$URL" "$@"
  local status=$?
  if [ "$status" = 77 ]; then
    leave
    exit 77
  fi
  [ "$status" = 0 ] || fail "the page at $URL"
}

serve 3
open_page
leave || fail "the server of three ranks ended with status $?"
serve 0 --api-key secret
open_page --api-key secret
leave || fail "the server with a key ended with status $?"
finish
