"""Discarded folios are reclaimed first, refaults are what they are, and all is shown."""

import os
import re
import subprocess
import time

from harness import place
from harness.guest import Guest, GuestError

GROUP = "/tmp/cgroup/test"
FILE, PAGES = "/mnt/write/cache", 16384     # 64 MiB
# Pages that a CPU's stock of charges and the programs of the test may add or take.
SLACK = 192
PAUSE = 1.1         # seconds after which reclaim looks for discarded folios again
EVENTS = ["make_volatile", "make_stable", "drop", "discard_fault"]
RECLAIMERS = [("classic", "n"), ("multi-generational", "y")]
PAGE_TYPES = place.out("page-types")


def boot(name, memory, kernel=None, append=""):
    return Guest(place.QEMU, kernel or place.KERNEL, place.INITRD, drive=place.IMAGE,
                 append=f"page_hva=on {append}", memory=memory,
                 options=["-global", "s390-cmma.policy=none",
                          "-drive", f"file={PAGE_TYPES},if=none,id=page-types,format=raw",
                          "-device", "virtio-blk-ccw,drive=page-types,serial=page-types"],
                 log=os.path.join(place.LOGS, f"{name}.log"))


def build_page_types():
    tools = os.path.join(place.BUILD, "linux/tools")
    sources = ["mm/page-types.c", "lib/api/fs/fs.c", "lib/api/debug.c", "lib/str_error_r.c"]
    subprocess.run(["s390x-linux-gnu-gcc", "-std=gnu11", "-static", "-s", "-Ilib",
                    "-Ilib/api", "-Iinclude", "-o", PAGE_TYPES, *sources], cwd=tools,
                   check=True)
    # A disk has whole blocks.
    os.truncate(PAGE_TYPES, -(-os.path.getsize(PAGE_TYPES) // 4096) * 4096)


def setup(guest):
    guest.run("mkdir /tmp/cgroup && mount -t cgroup2 none /tmp/cgroup && "
              f"echo +memory >/tmp/cgroup/cgroup.subtree_control && mkdir {GROUP}")
    guest.run("mkdir /tmp/full && mount -t tmpfs -o size=100% none /tmp/full; "
              "mount -o remount,noatime /mnt; "
              f"dd if=/dev/zero of={FILE} bs=1M count={PAGES // 256} 2>/dev/null; sync")


def choose(guest, enabled):
    guest.run(f"echo {enabled} >/sys/kernel/mm/lru_gen/enabled")


def read_again(guest, mib=PAGES // 256):
    """Read the file, in the cgroup."""
    guest.run(f"echo $$ >{GROUP}/cgroup.procs; dd if={FILE} of=/dev/null bs=1M "
              f"count={mib} 2>/dev/null")


def fill(guest):
    """The file in the cache, the first half of it active."""
    guest.run("echo 1 >/proc/sys/vm/drop_caches")
    read_again(guest)
    read_again(guest, PAGES // 512)


def counters(guest):
    return {name: int(value) for name, value in
            re.findall(r"^(\w+) (\d+)$", guest.run("cat /proc/vmstat"), re.MULTILINE)}


def group_stat(guest, name):
    return int(guest.run(f"sed -n 's/^{name} //p' {GROUP}/memory.stat"))


def stall(guest):
    """Microseconds for which somebody waited for memory."""
    return int(re.search(r"some .*total=(\d+)", guest.run("cat /proc/pressure/memory"))[1])


def volatile(guest):
    """Pages of volatile folios that are there, and that are gone.

    The host's own count has free pages as well, which may stay volatile for a while.
    """
    guest.settle()
    count = guest.run("cd /sys/kernel/mm/page_hva && cat volatile_bytes discarded_bytes")
    return tuple(int(number) // 4096 for number in count.split())


def discard(guest, count=None):
    arguments = {"count": count} if count else {}
    guest.settle()
    guest.qmp.command("x-s390-cmma-discard", what="volatile", **arguments)


def limit(guest, pages):
    """Lower the limit of the group by so much, for a moment."""
    guest.run(f"cd {GROUP} && echo $(($(cat memory.current) - {pages * 4096})) "
              ">memory.max; echo max >memory.max")


def exhaust(guest, pages):
    """Let everybody be short of so many pages."""
    guest.run("free=$(sed -n 's/^MemFree: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo); "
              # By the page: each further write to one would count as a use.
              f"dd if=/dev/zero of=/tmp/full/big bs=4k count=$((free / 4 + {pages})) 2>/dev/null",
              timeout=120)


def gone_first(guest, shrink, parts, rounds, share=1):
    """What is discarded goes before anything else goes, and is not activated.

    At least this share of what is asked for must come from there.
    """
    fill(guest)
    live, _ = volatile(guest)
    assert live > PAGES * 0.95, f"only {live} of {PAGES} pages are volatile"
    half, gone = live // 2, 0
    for _ in range(10):
        # Some of what the host takes has been freed, and is volatile still.
        discard(guest, half - gone)
        live, gone = volatile(guest)
        if gone >= half - SLACK:
            break
    assert gone > PAGES * 0.4, f"only {gone} pages are discarded"
    before = counters(guest)
    time.sleep(PAUSE)
    for part in range(rounds):
        shrink(guest, gone // parts - SLACK)
        left, rest = volatile(guest)
        if left < live - SLACK:
            # What kcompactd has moved meanwhile is stable until it has been left alone.
            time.sleep(PAUSE)
            left, rest = volatile(guest)
        assert left >= live - SLACK, \
            f"{live - left} live pages went while {rest} discarded ones were there"
        assert rest <= gone - (part + 1) * share * (gone // parts - SLACK) + SLACK, \
            f"{gone} pages were discarded, {rest} of them are left after round {part + 1}"
    after = counters(guest)
    assert after["pgactivate"] == before["pgactivate"], \
        f"{after['pgactivate'] - before['pgactivate']} pages were activated"
    return live


def limits(guest, report):
    for name, enabled in RECLAIMERS:
        choose(guest, enabled)
        with report.test(f"reclaim: {name}, at a cgroup's limit, discarded folios go "
                         "first and are not activated"):
            live = gone_first(guest, limit, 4, 4)
            limit(guest, 2048)
            assert volatile(guest)[0] < live - 1024, "then no others went"


def shortage(guest, report):
    for name, enabled in RECLAIMERS:
        choose(guest, enabled)
        with report.test(f"reclaim: {name}, when all are short of memory, discarded folios "
                         "go first and are not activated"):
            # Slabs and the CPUs' stocks of free pages give something, too.
            gone_first(guest, exhaust, 2, 1, share=0.75)
        guest.run("rm -f /tmp/full/big")


def moved(guest, report):
    with report.test("reclaim: what compaction has moved turns volatile again"):
        where = os.path.dirname(FILE)
        # Each other page of a file of 16 MiB is dropped, and the rest moves together.
        text = guest.run(f"cost prepare {where} migrate && echo 1 >/proc/sys/vm/drop_caches && "
                         f"cost run {where} migrate 1 1", timeout=120)
        pages = int(re.search(r"pass (\d+)", text)[1])
        assert pages > 1024, f"only {pages} pages were moved"
        live, _ = volatile(guest)
        assert live > 2048 - SLACK, f"{pages} pages were moved, and {live} of 2048 are volatile"


def refaults(guest, report):
    for name, enabled in RECLAIMERS:
        choose(guest, enabled)
        with report.test(f"reclaim: {name}, a refault after a discard is no thrashing, and "
                         "what was active is active again"):
            fill(guest)
            active = group_stat(guest, "active_file")
            discard(guest)
            _, gone = volatile(guest)
            before, waited = counters(guest), stall(guest)
            read_again(guest)
            after = counters(guest)
            seen = after["page_hva_refaults"] - before["page_hva_refaults"]
            assert gone - SLACK <= seen <= gone, f"{seen} refaults of {gone} pages"
            for item in ("workingset_refault_file", "workingset_activate_file"):
                assert after[item] == before[item], f"{item} grows"
            assert stall(guest) == waited, "the guest waited for memory"
            again = group_stat(guest, "active_file")
            assert again > active * 0.95, f"{again} bytes are active again of {active}"


def major_faults(guest, report):
    pages = 512
    for access in ("read", "write"):
        with report.test(f"reclaim: a {access} of a discarded page is one major fault"):
            guest.run("echo 1 >/proc/sys/vm/drop_caches")
            guest.run("rm -f /tmp/go /tmp/answer; "
                      f"mapped {FILE} {access} {pages} /tmp/go >/tmp/answer &")
            read_again(guest, 4)
            discard(guest)
            before = counters(guest)["pgmajfault"]
            guest.run("touch /tmp/go; while [ ! -s /tmp/answer ]; do sleep 0.1; done")
            faults = counters(guest)["pgmajfault"] - before
            answer = guest.run("cat /tmp/answer")
            own = int(re.match(r"major (\d+)", answer)[1])
            assert own == faults, f"the process counts {answer.strip()}, the kernel {faults}"
            assert own == pages, f"{answer.strip()} for {pages} pages"


LOOK = "mapped {0} unmapped {0} cached {0} evicted {1}"


def look(guest, act):
    """What mincore() and cachestat() say of 512 mapped pages after the host acted."""
    guest.run("rm -f /tmp/answer; touch /tmp/go; "
              f"mapped {FILE} look 512 /tmp/go >/tmp/answer 2>&1 & "
              "while [ ! -s /tmp/answer ]; do sleep 0.1; done")
    act()
    guest.run("rm /tmp/go; while pidof mapped >/dev/null; do sleep 0.1; done")
    return guest.run("tail -n 1 /tmp/answer").strip()


def in_core(guest):
    """Of what is gone, nothing is in core."""
    answer = look(guest, lambda: discard(guest))
    if answer != LOOK.format(0, 512):
        raise GuestError(f"FAIL all pages are discarded: {answer}")


def group_count(guest, group):
    """Pages that are volatile and there, and that are gone."""
    text = guest.run(f"cat {group}/memory.page_hva")
    live, gone = re.fullmatch(r"volatile (\d+)\ndiscarded (\d+)\n*", text).groups()
    return int(live) // 4096, int(gone) // 4096


def interfaces(guest, report):
    with report.test("interfaces: page-types counts as many volatile pages as sysfs"):
        guest.run("cat /dev/$(cd /sys/block; grep -l page-types */serial | cut -d/ -f1) "
                  ">/tmp/page-types; chmod +x /tmp/page-types")
        fill(guest)
        discard(guest, 1000)
        summary = guest.run("/tmp/page-types -r -b hva_volatile")
        total = int(re.search(r"^ +total\s+(\d+)", summary, re.MULTILINE)[1])
        live, gone = volatile(guest)
        assert gone == 1000 and total == live + gone, \
            f"page-types counts {total}, sysfs {live} and {gone} discarded ones"
        assert re.search(r"\bhva_volatile\b", summary), "the flag has no name"
    with report.test("interfaces: mincore() and cachestat() know what is gone"):
        fill(guest)
        assert look(guest, lambda: None) == LOOK.format(512, 0)
        in_core(guest)
    with report.test("interfaces: memory.page_hva is that of the group"):
        guest.run(f"mkdir {GROUP}-idle")
        fill(guest)
        guest.settle()
        live, gone = group_count(guest, GROUP)
        assert live > PAGES * 0.95 and not gone, f"{live} and {gone} of {PAGES} pages"
        discard(guest)
        live, gone = group_count(guest, GROUP)
        assert gone > PAGES * 0.95 and live < SLACK, f"{live} and {gone} of {PAGES} pages"
        idle = group_count(guest, GROUP + "-idle")
        assert idle == (0, 0), f"another group has {idle}"
        guest.run(f"rmdir {GROUP}-idle")
    with report.test("interfaces: each trace event fires"):
        fill(guest)
        discard(guest)
        # The buffer is small, so neither filling nor all of the file is traced.
        guest.run("cd /sys/kernel/debug/tracing && echo 1 >events/page_hva/enable")
        guest.run("rm -f /tmp/go /tmp/answer; touch /tmp/go; "
                  f"mapped {FILE} read 4 /tmp/go; "
                  f"dd if={FILE} of=/dev/null bs=64k count=16 2>/dev/null; "
                  f"mapped {FILE} write 4 /tmp/go; "
                  "echo 1 >/sys/kernel/debug/page_hva/settle; "
                  f"dd if=/dev/zero of={FILE} bs=4k seek=8 count=4 conv=notrunc 2>/dev/null")
        for event in EVENTS:
            guest.run(f"grep -q 'page_hva_{event}: pfn=0x' /sys/kernel/debug/tracing/trace "
                      f"|| {{ echo no {event}; false; }}")
        guest.run("cd /sys/kernel/debug/tracing && echo 0 >events/page_hva/enable")


def referenced(guest):
    """What is mapped, and was accessed since it turned volatile, is reclaimed the same."""
    fill(guest)
    # In the cgroup: references from elsewhere do not count at its limit.
    guest.run("rm -f /tmp/answer; touch /tmp/go; "
              f"sh -c 'echo $$ >{GROUP}/cgroup.procs; exec mapped {FILE} hold {PAGES} "
              "/tmp/go' >/tmp/answer & "
              "while [ ! -s /tmp/answer ]; do sleep 0.1; done")
    try:
        discard(guest)
        _, gone = volatile(guest)
        assert gone > PAGES * 0.4, f"only {gone} pages are volatile and mapped"
        before = counters(guest)["pgactivate"]
        limit(guest, gone // 2)
        active = counters(guest)["pgactivate"] - before
        assert not active, f"{active} pages were activated"
        _, rest = volatile(guest)
        assert rest < gone // 2 + SLACK, f"{rest} of {gone} discarded pages were kept"
    finally:
        guest.run("rm -f /tmp/go")


def control(act):
    """For check_controls: what is noticed when a hook is off."""
    def run(guest, _):
        if guest.run("ls -d /tmp/cgroup", check=False)[0]:
            setup(guest)
        for _, enabled in RECLAIMERS:
            choose(guest, enabled)
            try:
                act(guest)
            except AssertionError as error:
                raise GuestError(f"FAIL {error}") from None
    return run


def no_thrashing(guest):
    """To read again what was discarded counts as a refault of its own kind."""
    fill(guest)
    discard(guest)
    before = counters(guest)
    # Not by readahead, which reads into what is there.
    guest.run(f"rm -f /tmp/go; touch /tmp/go; mapped {FILE} read 512 /tmp/go")
    after = counters(guest)
    seen = after["page_hva_refaults"] - before["page_hva_refaults"]
    assert seen == 512, f"{seen} refaults of 512 pages"


def met_by_reclaim(guest):
    guest.run("echo sweep >/sys/kernel/debug/page_hva/skip")
    referenced(guest)


swept = control(lambda guest: gone_first(guest, limit, 4, 4))
met = control(met_by_reclaim)
refaulted = control(no_thrashing)
known = control(in_core)


def reclaim(report, kernel=None, append=""):
    build_page_types()
    with boot("reclaim", "256M", kernel, append) as guest:
        setup(guest)
        limits(guest, report)
        shortage(guest, report)
        moved(guest, report)
        refaults(guest, report)
        major_faults(guest, report)
        interfaces(guest, report)
