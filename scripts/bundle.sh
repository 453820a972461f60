#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: bundle.sh PREFIX. Makes an installed tree (cmake --install) run on a bare system with a C
# and C++ library as new as this one's: copies the shared libraries of PREFIX/bin/folkmoot and
# Open MPI's run time (mpirun, orted, plug-ins, messages) into it, and lets everything find its
# libraries relative to itself. The C and C++ libraries, and drivers, stay the system's own.
set -euo pipefail

(($# == 1)) || { echo "usage: bundle.sh PREFIX" >&2; exit 2; }
prefix=$(cd "$1" && pwd)
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}
command -v patchelf >/dev/null || fail "patchelf is missing: apt-get install patchelf"
[[ -x $prefix/bin/folkmoot ]] || fail "there is no $prefix/bin/folkmoot: cmake --install first"

# Libraries that belong to the system, by soname.
of_the_system='^(linux-vdso|ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|stdc\+\+|gcc_s|cuda|nvidia.*))\.so'

# Copies what FILE needs to PREFIX/lib; fails for one that is not found.
copy_needed() {
  local name arrow path rest
  while read -r name arrow path rest; do
    [[ $arrow == "=>" ]] || continue
    [[ $name =~ $of_the_system ]] && continue
    [[ $path == /* ]] || fail "$1 needs $name, which is not found"
    [[ -e $prefix/lib/$name ]] || install -m 0644 "$path" "$prefix/lib/$name"
  done < <(ldd "$1")
}

# Where this MPI keeps its parts.
command -v ompi_info >/dev/null || fail "ompi_info is missing: only Open MPI can be bundled"
mpi_path() { ompi_info --path "$1" --parsable | sed -n "s/^path:$1://p"; }
plugins=$(mpi_path pkglibdir)
messages=$(mpi_path pkgdatadir)
pmix_plugins=$(dirname "$(find /usr/lib /usr/local/lib -name 'pmix_mca_*.so' -print -quit 2>/dev/null)")
pmix_messages=$(dirname "$(find /usr/lib /usr/share -name 'help-pmix-runtime.txt' -print -quit 2>/dev/null)")

mkdir -p "$prefix"/lib/{openmpi,pmix,mpi-bin} "$prefix"/share/{openmpi,pmix} "$prefix"/etc/openmpi
copy_needed "$prefix/bin/folkmoot"
for program in orterun orted; do
  install -m 0755 "$(command -v "$program")" "$prefix/lib/mpi-bin/$program"
  copy_needed "$prefix/lib/mpi-bin/$program"
done

# Plug-ins for shared memory and TCP. Those of fabrics (UCX, libfabric, PSM, verbs) need drivers of
# their own: clusters with such a network use their own MPI.
for plugin in "$plugins"/mca_*.so; do
  case $(basename "$plugin") in
    *_ucx.so | *_ofi.so | *_psm*.so | *_openib.so | *_flux.so | *_gridengine.so | mca_io_* | mca_f* | \
      mca_sharedfp_* | mca_spml_* | mca_sshmem_* | mca_scoll_* | mca_memheap_*) continue ;;
  esac
  install -m 0644 "$plugin" "$prefix/lib/openmpi/"
  copy_needed "$plugin"
done
for plugin in "$pmix_plugins"/pmix_mca_*.so; do
  install -m 0644 "$plugin" "$prefix/lib/pmix/"
  copy_needed "$plugin"
done
install -m 0644 "$messages"/help-*.txt "$prefix/share/openmpi/"
[[ $pmix_messages == . ]] || install -m 0644 "$pmix_messages"/help-*.txt "$prefix/share/pmix/"
# Settings of our own: Debian's demand ssh, which one host does not need.
printf 'btl_base_warn_component_unused = 0\n' >"$prefix/etc/openmpi/openmpi-mca-params.conf"

for file in "$prefix"/lib/*.so*; do patchelf --set-rpath "\$ORIGIN" "$file"; done
for file in "$prefix"/lib/{openmpi,pmix}/*.so "$prefix"/lib/mpi-bin/*; do
  patchelf --set-rpath "\$ORIGIN/.." "$file"
done
patchelf --set-rpath "\$ORIGIN/../lib" "$prefix/bin/folkmoot"

# mpirun and orted tell MPI where it lies now; the ranks inherit it.
for program in mpirun:orterun orted:orted; do
  cat >"$prefix/bin/${program%:*}" <<SCRIPT
#!/bin/sh
here=\$(cd "\$(dirname "\$(readlink -f "\$0")")/.." && pwd) || exit 1
export OPAL_PREFIX="\$here" OPAL_BINDIR="\$here/bin" OPAL_LIBDIR="\$here/lib"
export OPAL_PKGLIBDIR="\$here/lib/openmpi" OPAL_PKGDATADIR="\$here/share/openmpi"
export OPAL_SYSCONFDIR="\$here/etc/openmpi"
export PMIX_PKGLIBDIR="\$here/lib/pmix" PMIX_PKGDATADIR="\$here/share/pmix"
# Without ssh there are no other hosts, and looking for it would be an error.
command -v ssh >/dev/null || command -v rsh >/dev/null || export OMPI_MCA_plm=^rsh
exec "\$here/lib/mpi-bin/${program#*:}" "\$@"
SCRIPT
  chmod 0755 "$prefix/bin/${program%:*}"
done
