#!/usr/bin/env bash
# Runs the published SDDP solver at several numbers of ranks and compares its outputs byte for
# byte with those of a single process that uses the solver's own communicator.
#
#   run.sh [CASES]
#
# CASES is the directory with the cases 4ree-small and d03-two-hydro-cascade (or COBRE_CASES).
# COBRE_SDDP_TARGET  where the driver is built; outside the clone, so that a fresh clone is warm
# COBRE_LAUNCH       a launcher to use instead of building the one in this repository
# COBRE_SDDP_KEEP    a directory that keeps outputs and reports (default: a temporary one)
#
# Ends with 0 only if everything is identical that should be, and different that should be.
set -euo pipefail
export LC_ALL=C

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
cases=${1:-${COBRE_CASES:-$here/../../../shared/cases}}
all_cases=(4ree-small d03-two-hydro-cascade)

say() { printf '%s\n' "$*"; }
stop() {
    say "run.sh: $*" >&2
    exit 2
}

# --- what is needed ---------------------------------------------------------------------------

for tool in cmake make g++; do
    command -v "$tool" >/dev/null || stop "$tool is missing; the solver compiles HiGHS." \
        "On Debian and Ubuntu: apt-get install cmake make g++"
done
command -v cargo >/dev/null || stop "cargo is missing"
for case in "${all_cases[@]}"; do
    [ -f "$cases/$case/config.json" ] ||
        stop "no case $case in $cases; give their directory as the argument or in COBRE_CASES"
done

# --- build ------------------------------------------------------------------------------------

# CMake's cache holds absolute paths: this directory can be kept, but neither moved nor copied.
target=${COBRE_SDDP_TARGET:-${XDG_CACHE_HOME:-$HOME/.cache}/cobre-sddp-target}
say "building the driver (minutes when cold, it compiles HiGHS) and the launcher"
CARGO_TARGET_DIR=$target cargo build --release --locked --quiet --manifest-path "$here/Cargo.toml"
driver=$target/release/cobre-sddp-run
if [ -z "${COBRE_LAUNCH:-}" ]; then
    (cd "$root" && cargo build --release --locked --quiet -p cobre-launch)
    COBRE_LAUNCH=${CARGO_TARGET_DIR:-$root/target}/release/cobre-launch
fi

if [ -n "${COBRE_SDDP_KEEP:-}" ]; then
    work=$COBRE_SDDP_KEEP
    mkdir -p "$work"
    [ -z "$(ls -A "$work")" ] || stop "$work is not empty"
else
    work=$(mktemp -d)
    trap 'rm -rf -- "$work"' EXIT
fi

# --- running and judging ----------------------------------------------------------------------

wrong=0
fault() {
    say "    WRONG: $*"
    wrong=$((wrong + 1))
}

# Whatever a launcher has set around us must not make the reference a rank of something else.
unset COBRE_COMM_BACKEND COBRE_SHM_NAME COBRE_SHM_RANK COBRE_SHM_SIZE

# run NAME CASE COMMAND...: runs COMMAND on CASE with the outputs and reports called NAME; sets
# `status` and `millis`.
run() {
    local name=$1 case=$2 begin
    shift 2
    begin=${EPOCHREALTIME/./}
    status=0
    timeout 300 "$@" --case "$cases/$case" --out "$work/$name" --report "$work/$name.json" \
        >"$work/$name.log" 2>&1 || status=$?
    millis=$(((${EPOCHREALTIME/./} - begin) / 1000))
}

seconds() { printf '%d.%02d' $(($1 / 1000)) $(($1 % 1000 / 10)); }

row() { printf '%-22s %5s %7s  %-9s %9s %8s %9s\n' "$@"; }

# identical NAME CASE: compares with the reference; sets `same`, `files` ("637 of 637") and
# `differences`.
identical() {
    local text
    same=yes
    text=$("$driver" compare "$work/$2.reference" "$work/$1" 2>&1) || same=no
    differences=$(grep -v ' files identical, ' <<<"$text" || true)
    files=$(sed -n 's/^ *\([0-9]* of [0-9]*\) files identical.*/\1/p' <<<"$text")
}

reports() { # NAME RANKS
    local rank
    for ((rank = 0; rank < $2; rank++)); do printf '%s\n' "$work/$1.$rank.json"; done
}

declare -A alone
say
say "reference: one process, the solver's own communicator"
row case ranks threads identical files 'wall s' 'alone s'
for case in "${all_cases[@]}"; do
    run "$case.reference" "$case" "$driver" --local
    alone[$case]=$millis
    row "$case" - 1 - - "$(seconds "$millis")" "$(seconds "$millis")"
    if [ "$status" -ne 0 ]; then
        cat "$work/$case.reference.log"
        stop "the reference run failed"
    fi
    "$driver" ranks "$work/$case.reference.0.json" || fault "the reference's own counts"
done

job() { # CASE RANKS THREADS: a run that must be identical
    local case=$1 ranks=$2 threads=$3 name="$1.$2x$3"
    run "$name" "$case" "$COBRE_LAUNCH" -n "$ranks" "$driver" --threads "$threads"
    if [ "$status" -ne 0 ]; then
        row "$case" "$ranks" "$threads" "exit $status" - "$(seconds "$millis")" -
        sed 's/^/    /' "$work/$name.log"
        fault "$ranks ranks on $case ended with $status"
        return
    fi
    identical "$name" "$case"
    row "$case" "$ranks" "$threads" "$same" "${files% of *}" "$(seconds "$millis")" \
        "$(seconds "${alone[$case]}")"
    if [ "$same" = no ]; then
        say "$differences"
        fault "$ranks ranks on $case differ from the reference"
    fi
    mapfile -t all < <(reports "$name" "$ranks")
    "$driver" ranks --like "$work/$case.reference.0.json" "${all[@]}" || fault "the counts of $name"
}

say
say "our communicator, by number of ranks and threads of each"
row case ranks threads identical files 'wall s' 'alone s'
for case in "${all_cases[@]}"; do
    for ranks in 1 2 4 8; do job "$case" "$ranks" 1; done
    job "$case" 2 4
done
say
say "what rank 0 of 4 asked for"
"$driver" ranks --calls "$work/4ree-small.4x1".?.json | sed -n '/by call/,$p'

# --- the comparison can fail ------------------------------------------------------------------

say
say "forced differences that must be noticed"
copy=$work/forced
forced() { # WHAT: judges $copy against the reference of 4ree-small, then restores it
    local text
    if text=$("$driver" compare "$work/4ree-small.reference" "$copy"); then
        fault "not noticed: $1"
    else
        say "    noticed: $1:$(sed 1q <<<"$text" | sed 's/^ */ /')"
    fi
    rm -rf -- "$copy"
}
fresh() { cp -r -- "$work/4ree-small.reference" "$copy"; }

fresh
cut=$copy/policy/cuts/003.bin
old=$(od -An -tu1 -j300 -N1 "$cut")
printf "\\x$(printf %x $((old ^ 1)))" | dd of="$cut" bs=1 seek=300 conv=notrunc status=none
forced "one bit of a cut"
fresh
rm -- "$copy/simulation/paths.parquet"
forced "a missing table"
fresh
cp -- "$work/d03-two-hydro-cascade.reference/training/convergence.parquet" "$copy/training/"
forced "another convergence"
if "$driver" ranks "$work"/4ree-small.{reference.0,1x1.0}.json >/dev/null; then
    fault "two isolated runs pass as a job of two"
else
    say "    noticed: two isolated runs, byte-identical, are no job of two ranks"
fi

# --- misordered on purpose --------------------------------------------------------------------

say
say "misordered on purpose; 'differ' and 'fails' mean the comparison must notice, 'same' that it cannot"
printf '%-22s %5s  %-38s %-7s %-9s %9s\n' case ranks misordered must outcome files
misorder() { # EXPECTED CASE RANKS WHAT...: expected is `same`, `differ` or `fails`
    local must=$1 case=$2 ranks=$3 name outcome
    shift 3
    name="$case.$ranks.misordered.${*//[^a-z_]/}"
    run "$name" "$case" "$COBRE_LAUNCH" -n "$ranks" "$driver" --misorder "$@"
    files=-
    differences=
    if [ "$status" -eq 124 ]; then
        outcome=hangs
    elif [ "$status" -ne 0 ]; then
        outcome=fails
    else
        identical "$name" "$case"
        if [ "$same" = yes ]; then outcome=same; else outcome=differ; fi
    fi
    printf '%-22s %5s  %-38s %-7s %-9s %9s\n' "$case" "$ranks" "$*" "$must" "$outcome" "${files% of *}"
    if [ "$status" -ne 0 ]; then
        sed -n 's/^/    /;1,2p' "$work/$name.log"
    else
        [ -z "$differences" ] || sed -n 1,3p <<<"$differences"
        mapfile -t all < <(reports "$name" "$ranks")
        "$driver" ranks "${all[@]}" | sed -n '/rank 0:.*misordered/p' || true
    fi
    [ "$outcome" = "$must" ] || fault "$case misordered by $* at $ranks ranks: $outcome"
}
for ranks in 2 4; do
    # The sum over gathered costs, backwards: the bounds change in their last bits.
    misorder differ 4ree-small "$ranks" gather --misorder-at stats_aggregation
    # All gathered floats, the trial states among them: another policy.
    misorder differ 4ree-small "$ranks" gather
    # Gathered cuts: a rank takes its own for a peer's, and the ranks fall out of step.
    misorder fails 4ree-small "$ranks" cuts
    # Float sums of allreduce: counts, exact in any order, and times, in no comparable file.
    misorder same 4ree-small "$ranks" reduce
done
misorder differ d03-two-hydro-cascade 2 gather
# One forward pass: there is a single cost and a single cut, nothing to misorder.
misorder same d03-two-hydro-cascade 2 gather --misorder-at stats_aggregation
misorder same d03-two-hydro-cascade 2 cuts

say
if [ "$wrong" -ne 0 ]; then
    say "$wrong things are not as they should be"
    exit 1
fi
say "all as it should be"
