"""Free pages become unused: at what price, all of them, and none is touched then."""

import os
import time

from harness import place
from harness.guest import PATIENCE, Guest, GuestError

# ESSA for each page that is allocated and freed again, at most.
PRICE = 0.2
# How much of the free memory of an idle guest the host has, and how soon, in seconds; the
# debug kernel takes its time, all the more with init_on_free.
SHARE, SOON, LATER = 0.99, 20, 90
# fork, exec and pipes of a shell; and what a compile run does.
SHELL = "for i in $(seq {}); do /bin/true; echo $i | grep -c 1 | cat >/tmp/x; done"
COMPILE = "mkdir -p /mnt/write/churn && churn {} /mnt/tree/mm /mnt/write/churn"
UNUSED, STABLE, NO_DAT = 2, 1, 7        # operations of ESSA

# Ways to boot, and whether pages become unused then.
WAYS = [("init_on_free=1 init_on_alloc=1", True), ("page_poison=on", False)]
# All memory is read, and handed over; what is not there is left out.
EVERYWHERE = [
    "test $(kcore) -ge 1000",
    "cd /sys/devices/system/cpu/cpu1 && echo 0 >online && echo 1 >online",
    "echo 1 >/proc/sys/vm/compact_memory",
]


def boot(name, append="", kernel=place.KERNEL, properties=()):
    options = []
    for setting in properties:
        options += ["-global", f"s390-cmma.{setting}"]
    return Guest(place.QEMU, kernel, place.INITRD, drive=place.IMAGE, append=append,
                 options=options, log=os.path.join(place.LOGS, f"{name}.log"))


def vmstat(guest):
    lines = guest.run("cat /proc/vmstat").splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def share(guest):
    """How much of the free memory is unused for the host."""
    pages = guest.qmp.command("x-query-s390-cmma")["pages"]
    return (pages["ur"] + pages["uz"]) / vmstat(guest)["nr_free_pages"]


def wait_for_share(guest, seconds=SOON):
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while (now := share(guest)) < SHARE:
        assert time.monotonic() < end, \
            f"{now:.4f} of the free memory is unused after {seconds} s"
        time.sleep(1)
    return now


def becomes_unused(guest):
    """For check_controls: what is freed becomes unused."""
    guest.run("dd if=/dev/zero of=/tmp/fill bs=1M count=300 2>/dev/null && rm /tmp/fill")
    try:
        wait_for_share(guest, LATER)
    except AssertionError as error:
        raise GuestError(f"FAIL {error}") from None


def price(guest, command):
    """ESSA per page allocated and freed by a command; and how many pages that were."""
    def count():
        essa = guest.qmp.command("x-query-s390-cmma")["essa"]
        stat = vmstat(guest)
        allocated = sum(stat[name] for name in stat if name.startswith("pgalloc_"))
        return essa[STABLE] + essa[UNUSED] + essa[NO_DAT], allocated + stat["pgfree"]

    before = count()
    guest.run(command, timeout=120)
    essa, pages = (now - then for now, then in zip(count(), before))
    return essa / (pages / 2), pages // 2


def cheap(guest):
    for command, times in ((SHELL, 100), (COMPILE, 60)):
        guest.run(command.format(times // 2), timeout=120)      # and cache what it reads
        paid, pairs = price(guest, command.format(times))
        print(f"#   {paid:.3f} ESSA per pair, {pairs} pairs: {command[:60]}", flush=True)
        assert pairs > 10000, f"{pairs} pages are allocated and freed: that shows little"
        assert paid <= PRICE, f"{paid:.3f} ESSA per page allocated and freed"


def memory_blocks(guest):
    """Take memory offline and back, if the guest can; returns how many blocks."""
    blocks = guest.run("cd /sys/devices/system/memory 2>/dev/null && ls -d memory[1-9]* "
                       "|| true").split()
    done = 0
    for block in blocks:
        state = f"/sys/devices/system/memory/{block}/state"
        if not guest.run(f"echo offline >{state}", check=False, timeout=60)[0]:
            guest.run(f"echo online >{state}", timeout=60)
            done += 1
    return done


def untouched(name, way, unused, compile_jobs=8):
    """A host that makes any access to an unused page an addressing exception."""
    with boot(f"free-{name}", f"page_hva=on kunit.enable=0 {way}", place.kernel("debug"),
              ["policy=always", "strict-unused=all"]) as guest:
        if unused:
            wait_for_share(guest, LATER)
            guest.qmp.command("x-s390-cmma-discard", what="unused")
        for command in (COMPILE.format(compile_jobs), *EVERYWHERE):
            guest.run(command, timeout=120)
        blocks = memory_blocks(guest) if unused else 0
        guest.run(COMPILE.format(compile_jobs), timeout=120)
        answer = guest.qmp.command("x-query-s390-cmma")
        assert not answer["violations"], f"{answer['violations']} accesses to unused pages"
        if not unused:
            assert not answer["essa"][UNUSED], "a poisoned page is unused"
        return blocks


def quick(report):
    with report.test(f"free: page_hva=off, {SHARE} of the free memory is unused when "
                     f"idle, at most {PRICE} ESSA per page allocated and freed"):
        with boot("free") as guest:
            wait_for_share(guest)
            cheap(guest)
            print(f"#   {wait_for_share(guest):.4f} of the free memory is unused again")
    nobody_touches(report, WAYS[:1])


def nobody_touches(report, ways):
    for way, unused in ways:
        with report.test(f"free: no unused page is accessed, {way}"):
            blocks = untouched(way.partition("=")[0], way, unused)
            if unused:
                print(f"#   {blocks} memory blocks went offline and came back")


def everything(report):
    quick(report)
    nobody_touches(report, WAYS[1:])
