#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A server with nothing but curl: curl.sh URL [KEY]
set -eu
URL=${1%/}
AUTH=(-H "Authorization: Bearer ${2:-none}")
JSON=(-H "Content-Type: application/json")

# expect TEXT CURL_ARGUMENTS...: TEXT is in the answer (status line and headers included).
expect() {
  local text=$1 answer
  shift
  answer=$(curl -sS -i --max-time 60 "${AUTH[@]}" "$@") || { echo "FAIL $*"; exit 1; }
  if grep -qF -- "$text" <<<"$answer"; then
    echo "ok   ${*: -1} ... $text"
  else
    echo "FAIL $* does not say '$text': ${answer:0:600}"
    exit 1
  fi
}

expect "200 OK" "$URL/health"
expect "200 OK" "$URL/ready"
expect '"object":"list"' "$URL/v1/models"
expect '"version":' "$URL/version"
expect 'vllm:num_requests_running{' "$URL/metrics"
expect '"layers":' "$URL/moe/experts"
expect '"finish_reason":"length"' "${JSON[@]}" -d '{"prompt": "And the LORD said", "max_tokens": 4}' "$URL/v1/completions"
# curl's own content type of -d, and a body in chunks.
expect '"total_tokens":' -d '{"prompt": [5, 6, 7], "max_tokens": 4}' "$URL/v1/completions"
expect '"total_tokens":' -H "Transfer-Encoding: chunked" -d '{"prompt": [5], "max_tokens": 1}' "$URL/v1/completions"
expect 'data: [DONE]' -N -d '{"prompt": "And", "max_tokens": 4, "stream": true}' "$URL/v1/completions"
expect 'Content-Type: text/event-stream' -N -d '{"prompt": "And", "max_tokens": 4, "stream": true}' "$URL/v1/completions"
expect '"completion_tokens":4' -d '{"text": "And", "sampling_params": {"max_new_tokens": 4}}' "$URL/generate"
expect '"tokens":[' -d '{"prompt": "And"}' "$URL/tokenize"
expect '400 Bad Request' -d '{"prompt": ""}' "$URL/v1/completions"
expect '404 Not Found' -d '{"prompt": "a", "model": "x"}' "$URL/v1/completions"
expect '405 Method Not Allowed' "$URL/v1/completions"
expect '"param":"temperature"' -d '{"prompt": "a", "temperature": -3}' "$URL/v1/completions"
expect '200 OK' --http1.0 "$URL/health"
expect '200 OK' -I "$URL/health"
