#!/usr/bin/env bash
# Boots a small virtual machine with four NUMA nodes and checks in it where each placement puts the pages of a window.
# Software emulation is enough. Needs qemu-system-x86_64, busybox (static), cpio and a Linux kernel image; says so if they are not there.
#
#     tests/numa/vm.sh          builds, boots, prints the table; exit 0 if every page is where it should be
#     ACCEL=kvm tests/numa/vm.sh    with hardware virtualisation
#     KERNEL=/boot/vmlinuz-X tests/numa/vm.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

kernel=${KERNEL:-$(ls /boot/vmlinuz-* 2>/dev/null | tail -n 1 || true)}
for needed in qemu-system-x86_64 busybox cpio ldd; do
  command -v "$needed" >/dev/null || { echo "SKIPPED: no $needed (Debian: qemu-system-x86 busybox-static cpio)" >&2; exit 77; }
done
[ -n "$kernel" ] && [ -r "$kernel" ] || { echo "SKIPPED: no kernel image (Debian: linux-image-cloud-amd64)" >&2; exit 77; }

cargo build -q --release -p cobre-launch -p cobre-inspect -p cobre-tests --features cobre-tests/numa \
  --bin cobre-launch --bin cobre-inspect --bin numa-check
target=${CARGO_TARGET_DIR:-target}/release

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,proc,sys,dev,tmp}
cp "$(command -v busybox)" "$root/bin/busybox"
for program in cobre-launch cobre-inspect numa-check; do
  cp "$target/$program" "$root/bin/"
  # The libraries it needs, at the paths where it looks for them.
  ldd "$target/$program" | grep -oE '/[^ ]+' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -n "$library" "$root$library"
  done
done
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox mkdir -p /dev/shm
/bin/busybox mount -t tmpfs -o size=256m none /dev/shm
export PATH=/bin
echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled
cobre-inspect topology
cobre-launch -n 4 --bind-to numa --report-bindings numa-check
echo "numa-check ended with $?"
/bin/busybox ls /dev/shm
/bin/busybox poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$root.cpio.gz"
trap 'rm -rf "$root" "$root.cpio.gz"' EXIT

nodes=()
for node in 0 1 2 3; do
  nodes+=(-object "memory-backend-ram,id=m$node,size=256M" -numa "node,nodeid=$node,cpus=$((2 * node))-$((2 * node + 1)),memdev=m$node")
done
timeout 240 qemu-system-x86_64 -nographic -no-reboot -accel "${ACCEL:-tcg,thread=multi}" -cpu max -smp 8 -m 1024 "${nodes[@]}" \
  -kernel "$kernel" -initrd "$root.cpio.gz" -append "console=ttyS0 quiet panic=-1 hugepages=64" </dev/null | tr -d '\r' | tee "$root.log"
trap 'rm -rf "$root" "$root.cpio.gz" "$root.log"' EXIT
grep -q "^numa-check ended with 0$" "$root.log"
