#!/usr/bin/env bash
# Runs the tests again and again, every other time beside eight processes that compute: what fails now and
# then fails here. Ends with 1 if any run failed.
#
#     tests/repeat.sh            20 runs of the README's test command
#     tests/repeat.sh 4 -p cobre-tests --test leftovers     4 runs of `cargo test` with these arguments
set -uo pipefail
cd "$(dirname "$0")/.."
runs=${1:-20}
shift || true
case $runs in
  '' | *[!0-9]* | 0)
    echo "$0: expected a number of runs from 1, found \"$runs\"" >&2
    exit 2
    ;;
esac
[ $# -gt 0 ] || set -- --workspace
logs=target/repeat
mkdir -p "$logs"

busy=()
idle() {
  [ ${#busy[@]} = 0 ] || kill "${busy[@]}" 2>/dev/null
  wait "${busy[@]}" 2>/dev/null
  busy=()
}
trap idle EXIT

cargo test -q --no-run "$@" || exit 1
failed=0
for run in $(seq "$runs"); do
  if [ $((run % 2)) = 0 ]; then
    for _ in 1 2 3 4 5 6 7 8; do
      (while :; do :; done) &
      busy+=($!)
    done
  fi
  start=$SECONDS
  if cargo test --no-fail-fast "$@" >"$logs/$run.log" 2>&1; then
    outcome=ok
  else
    outcome="FAILED, see $logs/$run.log: $(grep -E '^test .* FAILED$' "$logs/$run.log" | awk '{print $2}' | sort -u | paste -sd' ')"
    failed=$((failed + 1))
  fi
  load=${#busy[@]}
  idle
  passed=$(awk '/^test result:/ { sum += $4 } END { print sum + 0 }' "$logs/$run.log")
  echo "run $run of $runs, $load busy processes: $outcome ($passed passed, $((SECONDS - start)) s)"
done
echo "$failed of $runs runs failed"
[ "$failed" = 0 ]
