#!/usr/bin/env bash
# Takes each ordering, fence and step of the protocols away in turn, in a copy of the sources, and
# expects a model-checking test to fail. Prints which test noticed. About ten minutes on two cores.
#
#     cobre-shm/loom-mutations.sh          all of them
#     cobre-shm/loom-mutations.sh 3 7      these
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
target=${CARGO_TARGET_DIR:-$root/target}/loom-mutations

# file | what is taken away | perl substitution (must change exactly one place)
mutations=(
  'sync/round.rs|the Release of a published round|s/slot\.stamp\.store\(stamp, Ordering::Release\)/slot.stamp.store(stamp, Ordering::Relaxed)/'
  'sync/wait.rs|the Acquire of an awaited round|s/\.stamp\.load\(Ordering::Acquire\) >= stamp/.stamp.load(Ordering::Relaxed) >= stamp/'
  'sync/round.rs|the Release of a doorbell by its owner|s/bell\.word\.store\(word, Ordering::Release\)/bell.word.store(word, Ordering::Relaxed)/'
  'sync/wait.rs|the Acquire of a doorbell|s/bell\.word\.load\(Ordering::Acquire\)/bell.word.load(Ordering::Relaxed)/'
  'sync/round.rs|the fence of the publisher|s/fence\(Ordering::SeqCst\);//'
  'sync/wait.rs|the fence of the sleeper|s/fence\(Ordering::SeqCst\);//'
  'sync/failure.rs|the fence of a rank that rings|s/fence\(Ordering::SeqCst\);//'
  'sync/failure.rs|the Release of a ring by others|s/fetch_add\(RING, Ordering::Release\)/fetch_add(RING, Ordering::Relaxed)/'
  'sync/failure.rs|the Release of a failure|s/compare_exchange\(state, code, Ordering::Release/compare_exchange(state, code, Ordering::Relaxed/'
  'sync/failure.rs|the Acquire of a failure|s/code\.load\(Ordering::Acquire\)/code.load(Ordering::Relaxed)/'
  'sync/wait.rs|the Release of a departure|s/state\.store\(state, Ordering::Release\)/state.store(state, Ordering::Relaxed)/'
  'sync/wait.rs|the Acquire of a departure|s/state\.load\(Ordering::Acquire\)/state.load(Ordering::Relaxed)/'
  'sync/round.rs|the change of the doorbell by its owner|s/cell\.bell\.word\.store\(word, Ordering::Release\);//'
  'sync/failure.rs|the change of the doorbell by others|s/cell\.bell\.word\.fetch_add\(RING, Ordering::Release\);//'
  'sync/round.rs|the wake-up by the owner|s/park::wake_all\(&cell\.bell\.word\);//'
  'sync/failure.rs|the wake-up by others|s/park::wake_all\(&cell\.bell\.word\);//'
  'sync/wait.rs|the announcement of a sleeper|s/cell\.sleepers\.count\.fetch_add\(1, Ordering::Relaxed\);/cell.sleepers.count.fetch_add(0, Ordering::Relaxed);/'
  'sync/round.rs|the wait before a slot is written again|s/needed > self\.state\.proven/needed > self.state.proven + 1000/'
  'sync/round.rs|one round of what an exchange proves|s/self\.state\.proven = round - 1;/self.state.proven = round;/'
  'sync/round.rs|one round of what that wait waits for|s/self\.await_arrival\(peer, round \+ 1, true\)/self.await_arrival(peer, round, true)/'
  'sync/latch.rs|the fence of the writer of a record|s/fence\(Ordering::Release\);\n        for \(place/for (place/'
  'sync/latch.rs|the Release of the count of updates|s/store\(next, Ordering::Release\)/store(next, Ordering::Relaxed)/'
  'sync/latch.rs|the Acquire of the count of updates|s/load\(Ordering::Acquire\)\),/load(Ordering::Relaxed)),/'
  'sync/latch.rs|the fence of the reader of a record|s/fence\(Ordering::Acquire\);//'
  'sync/latch.rs|the second look at the count|s/if updates\(\)\?\.wrapping_sub\(before\) < COPIES as u64 - 1/if true/'
  'sync/latch.rs|one update of what that look allows|s/< COPIES as u64 - 1/< COPIES as u64/'
  'sync/ring.rs|the fence of the writer of events|s/fence\(Ordering::Release\);//'
  'sync/ring.rs|the Release of the number of events|s/store\(number\.wrapping_add\(1\), Ordering::Release\)/store(number.wrapping_add(1), Ordering::Relaxed)/'
  'sync/ring.rs|the Acquire of the number of events|s/load\(Ordering::Acquire\)/load(Ordering::Relaxed)/'
  'sync/ring.rs|the fence of the reader of events|s/fence\(Ordering::Acquire\);//'
  'sync/ring.rs|the event that may be half written|s/\.saturating_add\(1\)//'
  'sync/round.rs|the comparison of a mere arrival|s/theirs == self\.state\.published/true || theirs == self.state.published/'
  'sync/parting.rs|the Acquire of what a rank shows that has left|s/state\.load\(Ordering::Acquire\)/state.load(Ordering::Relaxed)/'
  'sync/wait.rs|the ring of a rank that leaves, with its fence|s/point::reached\("left"\);\n    failure::ring\(cell\);//'
)

survived=0
run() {
  IFS='|' read -r file what substitution <<<"${mutations[$1]}"
  rm -rf "$copy"/* && cp -r "$root"/{Cargo.toml,Cargo.lock,clippy.toml} "$copy"/
  mkdir -p "$copy/cobre-shm" && cp -r "$root"/cobre-shm/{Cargo.toml,README.md,src,tests} "$copy/cobre-shm/"
  cp -r "$root/cobre-comm-trait" "$copy/"
  perl -pi -e 's/^members = \[/members = ["cobre-comm-trait", "cobre-shm"]\nunused = [/; s/^default-members.*//' "$copy/Cargo.toml"
  local changed
  changed=$(perl -0pi -e "\$n = $substitution; print STDERR \$n || 0" "$copy/cobre-shm/src/$file" 2>&1)
  if [ "$changed" != 1 ]; then
    echo "mutation $1 ($what) does not apply to $file any more: changed '$changed' places" >&2
    exit 2
  fi
  local output
  if output=$(cd "$copy" && RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$target" timeout 900 \
      cargo test -q -p cobre-shm --lib --release -- model:: 2>&1); then
    echo "SURVIVED  $1 $file: without $what every test passes"
    survived=1
  elif grep -q "^thread 'model::" <<<"$output"; then
    # A deadlock aborts the run at the first test that finds it.
    echo "noticed   $1 $file: without $what: $(grep -oE "^thread 'model::[a-z_:]+" <<<"$output" | sed 's/.*:://' | sort -u | paste -sd' ')"
  else
    printf '%s\n' "$output" | tail -30 >&2
    echo "mutation $1 ($what) did not build" >&2
    exit 2
  fi
}

[ $# -gt 0 ] || set -- $(seq 0 $((${#mutations[@]} - 1)))
for number in "$@"; do run "$number"; done
exit $survived
