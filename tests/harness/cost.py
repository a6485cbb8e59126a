"""Runs the loads of tests/guest/cost.c and returns what each cost."""

import os
import re
import subprocess
import tempfile
from typing import NamedTuple

from . import counting, place
from .guest import Guest

BEGIN, END, END_PASS = 1, 2, 3          # marks
# How often a load is run in a pass: some million instructions, so that what happens
# sometimes happens in each pass.
LOADS = {
    "pread-4k": 4000, "pread-1m": 60, "readv": 400, "io-uring": 2000,
    "fault": 40, "private-write": 8, "read-then-write": 8, "anonymous": 10,
    "fork": 300, "exec-static": 20, "exec-dynamic": 5, "compile": 3,
    "splice": 40, "sendfile": 20, "mlock": 30, "uncached": 12,
    "open": 800, "overwrite": 4000, "tmpfs": 8, "truncate": 20, "writeback": 6,
    "swap-zram": 1, "swap-cache": 1,
}
# What needs a kernel with configs/bench.config.
NEEDS_NET = ["sendfile"]
# Background workers have seen what was read before after so many seconds.
SETTLE = 15
MEMORY, DISK = 512, 256                 # MiB
ZRAM = 16
GROUP = "/tmp/group/cost"               # in which memory.reclaim is written
# The clock is what random numbers and layouts come from, too; these need not vary.
FIXED = ("-U 11111111-2222-3333-4444-555555555555 "
         "-E lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,"
         "hash_seed=66666666-7777-8888-9999-aaaaaaaaaaaa").split()
PREPARE = [
    "echo 0 >/proc/sys/kernel/randomize_va_space",
    "mkdir /mnt/bin /mnt/sources /mnt/work",
    "cp /bin/busybox /bin/dynamic-hello /bin/churn /mnt/bin/ && cp -r /lib /mnt/lib",
    "for i in 0 1 2 3 4 5 6 7; do dd if=/bin/busybox of=/mnt/sources/$i bs=4k count=8 "
    "skip=$((i * 8)) 2>/dev/null; done",
    # What executes from here is read from the disk.
    "mount --bind /mnt/lib /lib",
    f"mkdir -p /tmp/group && mount -t cgroup2 none /tmp/group && "
    f"echo +memory >/tmp/group/cgroup.subtree_control && mkdir {GROUP}",
    f"echo {ZRAM}M >/sys/block/zram0/disksize",
    "cost prepare /mnt {loads}",
    "sync && echo 3 >/proc/sys/vm/drop_caches",
    "cost cache /mnt {loads} && cat /mnt/bin/* /mnt/lib/* /mnt/sources/* >/dev/null",
]


class Cost(NamedTuple):
    """Of a pass, for each unit."""
    instructions: float
    essa: float


def passes(marks):
    """Sums up what is between begin and end, for each pass."""
    total, began = {}, None
    for mark, count in marks:
        if mark == BEGIN:
            began = count
        elif mark == END:
            for kind in count:
                total[kind] = total.get(kind, 0) + count[kind] - began[kind]
        else:
            yield total
            total = {}


def costs(text, marks):
    units = [int(number) for number in re.findall(r"^pass (\d+)$", text, re.MULTILINE)]
    counted = list(passes(marks))
    assert len(units) == len(counted) and all(units), f"{units} units in {counted}"
    # The first pass is to get warm.
    return [Cost(total["all"] / number, counting.essa(total) / number)
            for number, total in zip(units[1:], counted[1:])]


def disk(path, mib=DISK):
    """Words of QEMU for a file system of its own."""
    with open(path, "wb") as file:
        file.truncate(mib << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", *FIXED, path], check=True)
    return ["-drive", f"file={path},if=none,id=fs,format=raw,cache=unsafe",
            "-device", "virtio-blk-ccw,drive=fs"]


def measure(kernel, append, loads, count, log, qemu=place.QEMU, settle=SETTLE, scale=1):
    """{load: [Cost of each of count passes, after one to get warm]}, by one boot."""
    plugin = counting.plugin()
    results = {}
    with tempfile.TemporaryDirectory(prefix="page_hva.") as tmp:
        counts = os.path.join(tmp, "counts")
        guest = Guest(qemu, kernel, place.INITRD, smp=1, memory=f"{MEMORY}M",
                      append=append, icount=True,
                      options=disk(os.path.join(tmp, "fs")) + ["-plugin", f"{plugin},out={counts}"],
                      log=os.path.join(place.LOGS, f"{log}.log"))
        with guest:
            for command in PREPARE:
                guest.run(command.replace("{loads}", " ".join(loads)), timeout=120)
            guest.run(f"sleep {settle}", timeout=settle + 60)
            for load in loads:
                with open(counts, "r+", encoding="ascii") as file:
                    file.truncate()
                iterations = max(1, int(LOADS[load] * scale))
                command = f"exec cost run /mnt {load} {iterations} {count + 1}"
                if load == "swap-cache":
                    command = f"echo 0 >{GROUP}/cgroup.procs && {command}"
                text = guest.run(f"sh -c '{command}'", timeout=300)
                results[load] = costs(text, counting.marks(counts))
    return results
