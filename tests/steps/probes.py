"""Probes on what accesses pages that the host took: data and counts stay right."""

import os
import re
import subprocess

from harness import place
from harness.guest import Guest

TRACING = "/sys/kernel/debug/tracing"
SETTLE = "echo 1 >/sys/kernel/debug/page_hva/settle"
FILE, PAGES = "/mnt/write/probed.data", 256
PROGRAM, CALLS, RUNS = "/mnt/write/probed", 100, 5
COPIED = PAGES // 2
# Names of events, and the function that each probes.  What is written to a file is faulted
# in before, one byte of each page.
COPIES = {"from": "raw_copy_from_user_key", "to": "raw_copy_to_user_key",
          "byte": "fault_in_readable"}


def boot(name, kernel=None, append=""):
    return Guest(place.QEMU, kernel or place.KERNEL, place.INITRD, drive=place.IMAGE,
                 append=f"page_hva=on {append}",
                 options=["-global", "s390-cmma.policy=always"],
                 log=os.path.join(place.LOGS, f"{name}.log"))


def user_accesses(function, vmlinux):
    """Offsets of the instructions by which a function accesses user space."""
    code = subprocess.run(["s390x-linux-gnu-objdump", "-d", f"--disassemble={function}",
                           vmlinux], capture_output=True, text=True, check=True).stdout
    start = re.search(rf"^([0-9a-f]+) <{function}>:", code, re.MULTILINE)
    found = re.findall(r"^ *([0-9a-f]+):.*\tmvcos\t", code, re.MULTILINE)
    assert start and found, f"{function} has no MVCOS"
    return [int(address, 16) - int(start[1], 16) for address in found]


def probe_copies(guest, vmlinux):
    for name, function in COPIES.items():
        for number, offset in enumerate(user_accesses(function, vmlinux)):
            guest.run(f"echo 'p:hva/{name}{number} {function}+{offset:#x}' "
                      f">>{TRACING}/kprobe_events")
    guest.run(f"echo 1 >{TRACING}/events/hva/enable")


def copy(guest, way):
    """Copy discarded pages; returns what was counted."""
    guest.run("echo 1 >/proc/sys/vm/drop_caches")
    answer = guest.run(f"probed {way} {FILE} {PAGES}").strip()
    print(f"#   {way}: {answer}", flush=True)
    return {key: int(value) for key, value in re.findall(r"(\w+) (\d+)", answer)}


def copies(guest, report):
    with report.test("probes: a write of discarded pages goes on after each fault of the "
                     "probed instruction"):
        count = copy(guest, "pipe")
        assert count["discard"] > COPIED / 2, "too few discard faults"
        wanted = COPIED + count["discard"] + count["page"]
        assert count["from"] == wanted, f"the probe should have hit {wanted} times"
        assert not count["missed"], "probes were missed"
    with report.test("probes: a read of discarded pages through a probed instruction"):
        count = copy(guest, "pread")
        assert count["discard"] > COPIED / 2, "too few discard faults"
        assert count["to"] >= COPIED + count["discard"], "the probe hit too seldom"
        assert not count["missed"], "probes were missed"
    with report.test("probes: a write of discarded pages to a file"):
        count = copy(guest, "pwrite")
        assert count["discard"] > COPIED / 2, "too few discard faults"
        assert count["byte"] >= COPIED + count["discard"], "the probe hit too seldom"
        assert not count["missed"], "probes were missed"


def user_faults(guest):
    return int(guest.run("sed -n 's/^page_hva_faults_user //p' /proc/vmstat"))


def hits(guest):
    """Of each probe in user space."""
    return [int(words.split()[-1]) for words in
            guest.run(f"cat {TRACING}/uprobe_profile").strip().splitlines()]


def texts(guest, report):
    guest.run(f"cp /bin/probed {PROGRAM}; sync")
    offsets = guest.run(f"{PROGRAM} offset").split()
    with report.test("probes: in a program whose text is discarded"):
        for number, offset in enumerate(offsets):
            # The copy of the instruction is read from the page cache, which has it no more.
            guest.run(f"cat {PROGRAM} >/dev/null; {SETTLE}; echo 'p:hva/text{number} "
                      f"{PROGRAM}:{offset}' >>{TRACING}/uprobe_events")
        guest.run(f"echo 1 >{TRACING}/events/hva/enable")
        before = user_faults(guest)
        guest.run(f"i=0; while [ $i -lt {RUNS} ]; do cat {PROGRAM} >/dev/null; {SETTLE}; "
                  f"{PROGRAM} call {CALLS} >/dev/null || exit 1; i=$((i + 1)); done")
        faults = user_faults(guest) - before
        print(f"#   {faults} discard faults, hits {hits(guest)}", flush=True)
        assert faults > RUNS, "too few discard faults"
        assert hits(guest) == [CALLS * RUNS] * len(offsets), "not each call was counted"
    with report.test("probes: set while the program runs"):
        # Not removed: 6.12 may take a probe that has just gone for an illegal operation.
        guest.run(f"echo 0 >{TRACING}/events/hva/enable; cat {PROGRAM} >/dev/null; "
                  f"{SETTLE}")
        before = hits(guest)
        calls = int(guest.run(
            f"{PROGRAM} call 0 >/tmp/calls & until [ -s /tmp/calls ]; do sleep 0.1; done; "
            f"echo 1 >{TRACING}/events/hva/enable; sleep 1; touch /tmp/stop; wait $! && "
            "sed 1d /tmp/calls"))
        more = [now - then for now, then in zip(hits(guest), before)]
        print(f"#   {calls} calls, hits {more}", flush=True)
        assert all(0 < count < calls for count in more), "the probes do not hit"


def everything(report, kernel=None, append="", vmlinux=None):
    with boot("probes", kernel, append) as guest:
        guest.run("mount -o remount,noatime /mnt")
        guest.run(f"probed make {FILE} {PAGES}")
        with report.test("probes: on each MVCOS of the functions that copy"):
            probe_copies(guest, vmlinux or place.out("vmlinux"))
        copies(guest, report)
        guest.run(f"echo 0 >{TRACING}/events/hva/enable; echo >{TRACING}/kprobe_events")
        texts(guest, report)
