#!/usr/bin/env bash
# The whole comparison in pieces of one to two minutes, 25 minutes in all:
#
#     benches/full.sh [DIR]              into DIR [default: target/comparison]
#     QUIET=CMD benches/full.sh          every piece that measures runs as `CMD piece`
#     ROUNDS=1 TARGET_MS=2 benches/full.sh          shorter; BUDGET_S=120 ROUNDS=3 longer
#     BUILT=1 CARGO_TARGET_DIR=DIR benches/full.sh  with what is built there already
#
# Within a piece ours and all peers take turns. Leaves results.json, table.md, latency.svg,
# latency-dirty.svg and growth.svg in DIR, and startup.md if hyperfine is installed. Installs nothing (see install-mpis.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${1:-target/comparison}
rounds=${ROUNDS:-2}
target_ms=${TARGET_MS:-3}
budget=${BUDGET_S:-60}
built=${CARGO_TARGET_DIR:-target}/release
if [ -z "${BUILT:-}" ]; then cargo build --release -q -p cobre-benches -p cobre-launch; fi
mkdir -p "$dir"
json=$dir/results.json
rm -f "$json"

piece() {
  ${QUIET:-} "$built/compare" run --json "$json" --append --budget-s "$budget" --target-ms "$target_ms" "$@" ||
    echo "full.sh: a piece failed or was cut off: $*" >&2
}

small=(barrier allreduce:8 allreduce:32 allreduce:1024 allreduce:4096 allreduce:16384
  allgatherv:64 allgatherv:4096 broadcast:8 broadcast:1024 broadcast:16384 sddp:12)
medium=(allreduce:262144 allreduce:1048576 allgatherv:208896 allgatherv:1048576 broadcast:262144
  broadcast:1048576 win-allreduce:1048576 win-allgatherv:1048576 win-broadcast:1048576
  allgatherv-read:1048576 win-allgatherv-read:1048576)
large=(allreduce:16777216 broadcast:16777216 win-allreduce:16777216 allgatherv:27262976
  win-allgatherv:27262976)

for ranks in 2 4 8; do
  for mode in reused dirty; do
    piece --ranks $ranks --mode $mode --rounds "$rounds" --limit-s 8 "${small[@]}"
    piece --ranks $ranks --mode $mode --rounds "$rounds" --limit-s 8 "${medium[@]}"
    piece --ranks $ranks --mode $mode --rounds 1 --limit-s 9 "${large[@]}"
  done
  # The longest replays and the one with work between its calls, beside those that keep up.
  piece --ranks $ranks --mode reused --rounds "$rounds" --limit-s 8 --peers "O4,O5,M5 tun,I" sddp:120 sddp-work:12
done
piece --ranks 2 --mode reused --rounds 1 --limit-s 15 allreduce:134217728 broadcast:134217728
# Growth: the columns that yield, and ours.
for ranks in 16 32 64; do
  piece --ranks $ranks --mode reused --rounds 1 --limit-s 15 --peers "O4 tun,O5 tun,I yld2" \
    barrier allreduce:8 allreduce:1024 allgatherv:64 sddp:12 allreduce:262144
done
if command -v hyperfine >/dev/null; then
  ${QUIET:-} "$built/compare" startup --ranks 8 --runs 10 --markdown "$dir/startup.md" ||
    echo "full.sh: the start of jobs was not measured" >&2
fi
${QUIET:-} "$built/compare" floors "$json"

"$built/compare" table "$json" >"$dir/table.md"
"$built/compare" plot "$dir/latency.svg" "$json" --ops allreduce,allgatherv,broadcast
"$built/compare" plot "$dir/latency-dirty.svg" "$json" --mode dirty --ops allreduce,allgatherv,broadcast
"$built/compare" plot "$dir/growth.svg" "$json" --growth --ops barrier,allreduce,allgatherv,sddp
echo "full.sh: $dir/table.md, latency.svg, latency-dirty.svg, growth.svg"
