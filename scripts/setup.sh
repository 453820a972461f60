#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The set-up that quickstart.sh and test.sh share. Source it with the repository's root as the
# working directory; it defines:
#
#   folkmoot_packages   installs with apt what is missing; a second call needs no network
#   folkmoot_mpi        the environment that OpenMPI needs as root and on few cores
#   folkmoot_build P T  configures preset P and builds target T (all when empty) in build/P
#
# Nothing is written outside the tree but packages: the compiler cache lives in build/ccache.

FOLKMOOT_PACKAGES=(
  build-essential cmake ninja-build ccache pkg-config procps
  libopenmpi-dev openmpi-bin libprotobuf-dev protobuf-compiler
  libspdlog-dev libfmt-dev libgtest-dev libgmock-dev libbenchmark-dev
  nlohmann-json3-dev libsimdjson-dev libcli11-dev libabsl-dev libhwy-dev librandom123-dev
  libxxhash-dev libpcre2-dev libutf8proc-dev libyaml-cpp-dev libboost-dev libboost-context-dev
  prometheus-cpp-dev
  iproute2  # tests: hosts that are namespaces
)

folkmoot_say() { printf '==> %s\n' "$*" >&2; }
folkmoot_fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Prints the packages of the list that are not installed.
folkmoot_missing_packages() {
  local installed
  installed=" $(dpkg-query -W -f='${Package}=${db:Status-Status} ' "${FOLKMOOT_PACKAGES[@]}" \
    2>/dev/null || true)"
  local package
  for package in "${FOLKMOOT_PACKAGES[@]}"; do
    [[ $installed == *" $package=installed "* ]] || printf '%s\n' "$package"
  done
}

folkmoot_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    folkmoot_say "no apt on this system: nothing is installed; CMake will name what it misses." \
      "The Debian names are: ${FOLKMOOT_PACKAGES[*]}"
    return 0
  fi
  local missing
  mapfile -t missing < <(folkmoot_missing_packages)
  if ((${#missing[@]} == 0)); then
    folkmoot_say "packages: all ${#FOLKMOOT_PACKAGES[@]} are installed"
    return 0
  fi
  local as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || folkmoot_fail "these packages are missing: ${missing[*]}." \
      "Installing them needs root: run this script as root or install sudo," \
      "or ask an administrator to run: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  folkmoot_say "packages: installing ${#missing[@]} with apt: ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq
    -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0)
  "${apt[@]}" update >&2 || folkmoot_fail "apt-get update failed: see its message above"
  # The recommended packages (documentation, plug-ins) are not needed.
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2 ||
    folkmoot_fail "apt-get could not install the packages: see its message above"
  mapfile -t missing < <(folkmoot_missing_packages)
  ((${#missing[@]} == 0)) || folkmoot_fail "apt-get left these packages out: ${missing[*]}"
}

folkmoot_mpi() {
  # More ranks than cores is normal here; a waiting rank must then give its core up, and a rank
  # with two threads must not be bound to one core.
  export OMPI_MCA_rmaps_base_oversubscribe=${OMPI_MCA_rmaps_base_oversubscribe:-1}
  export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-none}
  export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
  if ((EUID == 0)); then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
}

# Compile jobs: one per core that we may use, but 1.5 GB of free memory for each.
folkmoot_jobs() {
  local cores memory_kb by_memory
  cores=$(nproc)
  memory_kb=$(sed -n 's/^MemAvailable:[[:space:]]*\([0-9]*\).*/\1/p' /proc/meminfo)
  by_memory=$((${memory_kb:-1500000} / 1500000))
  ((by_memory < 1)) && by_memory=1
  echo $((cores < by_memory ? cores : by_memory))
}

folkmoot_build() {
  local preset=$1 target=${2:-all} jobs
  jobs=$(folkmoot_jobs)
  export CCACHE_DIR=${CCACHE_DIR:-$PWD/build/ccache}
  export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros}
  folkmoot_say "build: preset $preset, target $target, $jobs job(s), in build/$preset"
  mkdir -p "build/$preset"
  # The configure step is quiet unless it fails; ninja prints one line that it keeps rewriting.
  if ! cmake --preset "$preset" >"build/$preset/configure.log" 2>&1; then
    cat "build/$preset/configure.log" >&2
    folkmoot_fail "cmake could not configure the build: see its message above"
  fi
  cmake --build "build/$preset" --target "$target" -j "$jobs" >&2 ||
    folkmoot_fail "the build failed: see the compiler's message above"
}
