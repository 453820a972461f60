#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian 12 to text written by a Mixture-of-Experts model whose experts live in four
# processes. Run it again whenever you like: what is done already is not done again.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: ./quickstart.sh [PROMPT]

Installs the Debian packages that are missing (apt, as root or with sudo), builds Folkmoot in
build/release, and runs the demo model on PROMPT with mpirun on four ranks.

  RANKS=N        number of ranks (default 4)
  MAX_TOKENS=N   tokens to write (default 120)
  MODEL=DIR      a Hugging Face model directory (default models/demo-kjv)
USAGE
}
case "${1:-}" in
  -h | --help) usage && exit 0 ;;
  -*) usage >&2 && exit 2 ;;
esac
if (($# > 1)); then
  usage >&2
  exit 2
fi

cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/setup.sh
source scripts/setup.sh

prompt=${1:-And it came to pass in the days of the king, that}
model=${MODEL:-models/demo-kjv}
ranks=${RANKS:-4}

folkmoot_say "Folkmoot quickstart: packages, build, then text from $ranks ranks"
folkmoot_packages
folkmoot_mpi
folkmoot_build release folkmoot

run=(mpirun -n "$ranks" build/release/bin/folkmoot generate "$model"
  --prompt "$prompt" --max-tokens "${MAX_TOKENS:-120}" --temperature 0.8 --top-p 0.95 --seed 7)
folkmoot_say "run:$(printf ' %q' "${run[@]}")"
exec "${run[@]}"
