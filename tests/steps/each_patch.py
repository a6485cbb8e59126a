"""What scripts/check-series has a kernel do after each patch of the series.

The kernels are of the middle of the series: none of its files in debugfs need be there.
"""

import hashlib
import re

from harness import place
from harness.guest import Guest
from .stress import Discarder, properties_of

SECONDS = 10
LIST = "find /mnt/tree/mm -type f >/tmp/list"
READ = "xargs cat </tmp/list >/dev/null"
# What has been used turns volatile now, or when it has been left alone.
SETTLE = ("f=/sys/kernel/debug/page_hva/settle; "
          "if [ -e $f ]; then echo 1 >$f; else sleep 12; fi")
HURRY = "f=/sys/kernel/debug/page_hva/late_ms; [ ! -e $f ] || echo 200 >$f"
VOLATILE = (3, 4)       # the operations of ESSA that make a block (potentially) volatile


def digest(path):
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except FileNotFoundError:
        return ""


def boot(kernel, log):
    """Boot it and read files; the result is whether the kernel took page_hva=on."""
    with Guest(place.QEMU, kernel, place.INITRD, drive=place.IMAGE, memory="512M",
               append="page_hva=on", log=log) as guest:
        said = guest.run("dmesg | grep 'page_hva: ' || :")
        enabled = bool(re.search(r"page_hva: .*\benabled\b", said))
        guest.run(f"{LIST}; {READ}", timeout=300)
        if not enabled:
            if "page_hva: " in said or "page_hva_" in guest.run("cat /proc/vmstat"):
                guest.run(SETTLE, timeout=300)
            essa = guest.qmp.command("x-query-s390-cmma")["essa"]
            assert not any(essa[op] for op in VOLATILE), \
                f"page_hva=on is refused, but blocks turned volatile: ESSA {essa}"
            counts = guest.run("grep -E '^page_hva_(made|discards|faults).* [1-9]' "
                               "/proc/vmstat || :").strip()
            # Free pages may be unused without the rest.
            counts = [line for line in counts.splitlines() if "unused" not in line]
            assert not counts, f"page_hva=on is refused, but counters count: {counts}"
        return enabled


def stress(kernel, policy, log):
    """A short stress; the result is the number of discard faults."""
    takes = ("volatile", "unused") if policy == "none" else ()
    options = []
    for setting in properties_of(policy, 1, takes):
        options += ["-global", f"s390-cmma.{setting}"]
    with Guest(place.QEMU, kernel, place.INITRD, drive=place.IMAGE, append="page_hva=on",
               options=options, log=log) as guest:
        # Files that rest turn volatile for certain, and are read again.
        guest.run(f"{LIST}; {READ}; {SETTLE}", timeout=300)
        for what in takes:
            guest.qmp.command("x-s390-cmma-discard", what=what)
        guest.run(READ, timeout=300)
        guest.run(HURRY)
        words = f"stress --dir /mnt/write --seconds {SECONDS} --seed 1 --hang 40"
        if takes:
            with Discarder(guest, takes) as host:
                guest.run(words, timeout=SECONDS + 300)
            assert not host.error, f"discard: {host.error}"
        else:
            guest.run(words, timeout=SECONDS + 300)
        answer = guest.qmp.command("x-query-s390-cmma")
        assert not answer["violations"], f"violations: {answer['violations']}"
        assert answer["discard-faults"], "the guest met no discarded page"
        return answer["discard-faults"]
