#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: deployment_test.sh FOLKMOOT_BINARY SOURCE_DIR. What ships to run the server (sbatch files, systemd
# unit, Dockerfile) parses and names only flags, variables and packages that are right.
set -u
FOLKMOOT=$1
cd "$2" || exit 1
FAILURES=0
fail() {
  echo "FAILED: $*"
  FAILURES=$((FAILURES + 1))
}

batches=(launch/slurm/*.sbatch)
files=("${batches[@]}" launch/systemd/folkmoot.service launch/Dockerfile)
for batch in "${batches[@]}"; do
  bash -n "$batch" || fail "$batch does not parse"
  if command -v shellcheck >/dev/null; then shellcheck "$batch" || fail "shellcheck $batch"; fi
done

reference=$("$FOLKMOOT" help --markdown) || fail "folkmoot help --markdown"
for file in "${files[@]}"; do
  # Flags behind "serve" or "score" up to the end of the command, and variables of ours.
  words=$(sed -e 's/\\$//' "$file" | grep -oE '(serve|score) [^#&;|<>]*' | grep -oE '(^| )--[a-z-]+' | tr -d ' ')
  words+=" $(grep -oE 'FOLKMOOT_[A-Z_]+' "$file" | grep -vE '^FOLKMOOT_BUILD_' | sort -u | tr '\n' ' ')"
  for word in $words; do
    grep -qF -- "\`$word\`" <<<"$reference" || fail "$file: folkmoot knows no $word"
  done
done

if command -v systemd-analyze >/dev/null && [[ -x /usr/bin/mpirun ]]; then
  unit=$(mktemp -d)
  sed 's|^EnvironmentFile=|EnvironmentFile=-|' launch/systemd/folkmoot.service >"$unit/folkmoot.service"
  complaints=$(systemd-analyze verify "$unit/folkmoot.service" 2>&1 | grep -F folkmoot.service)
  [[ -z $complaints ]] || fail "systemd-analyze: $complaints"
  rm -r "$unit"
fi

# The image has the packages of every library that the program is linked to.
if command -v dpkg-query >/dev/null && command -v readelf >/dev/null && grep -q 'VERSION_ID="12"' /etc/os-release; then
  for library in $(readelf -d "$FOLKMOOT" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p'); do
    path=$(ldd "$FOLKMOOT" | awk -v l="$library" '$1 == l {print $3}')
    [[ -e $path ]] || continue
    package=$(dpkg-query -S "$(realpath "$path")" 2>/dev/null | cut -d: -f1 | head -1)
    case $package in
      '' | libc6 | libstdc++6 | libgcc-s1 | libasan* | libubsan* | libtsan*) continue ;;
    esac
    grep -qE "(^| )$package( |\$)" <(sed 's/\\$//' launch/Dockerfile) ||
      fail "launch/Dockerfile: the program is linked to $library of $package"
  done
fi

((FAILURES == 0)) || exit 1
echo "all as expected"
