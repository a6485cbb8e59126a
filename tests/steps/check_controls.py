"""Each hook has a control: something that passes, and fails when the hook is off."""

import collections
import concurrent.futures
import fnmatch
import os
import re
import time

from harness import place
from harness.guest import Guest, GuestError
from steps import filesystems, free, kexec, large, progress, reclaim, swap

SKIP = "/sys/kernel/debug/page_hva/skip"
# What turns volatile late does so when the test says it.
PATIENT = "echo 60000 >/sys/kernel/debug/page_hva/late_ms"
# How long, in seconds, with the hook; and at most without it.
SHORT, LONG = 3, 90
# What the kernel says about itself, most telling first in time.
COMPLAINT = re.compile(r"page_hva: volatile pfn .*|Access to a discarded page.*|"
                       r"access to discarded page .*|page_hva: pfn .*|WARNING: .*|"
                       r"BUG: .*|Kernel panic.*|rcu: INFO: .* detected stalls.*")
DEBUG = place.kernel("debug")
SEVERAL = 50            # instructions that need several pages
AT_ONCE = 2             # guests: much of the time one of them boots, on one CPU


def source(path):
    with open(os.path.join(place.ROOT, path), encoding="utf-8") as file:
        return file.read()


def hooks(guest):
    """All that the kernel has, as VERB@FUNCTION."""
    return re.findall(r"^(\S+@\S+) o", guest.run(f"cat {SKIP}"), re.MULTILINE)


def verbs():
    """The hooks that the source can switch off; those of the documentation must agree."""
    known = set(re.findall(r"PAGE_HVA_OFF\((\w+)\)",
                           source("include/linux/page_hva_sites.h"))) - {"name"}
    table = re.search(r"^Hooks\n=+\n.*?^name +rule +where[^\n]*\n[= ]+\n(.*?)^=+ +=+",
                      source("Documentation/mm/page_hva.rst"), re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^(\w+(?:, \w+)*) ", table[1], re.MULTILINE) if table else []
    named = {name for row in rows for name in row.split(", ")}
    assert known, "no hook is found in the source"
    assert named == known - ARCH, \
        f"hooks that the documentation lacks, or invents: {named ^ (known - ARCH)}"
    return known


def stress(operations):
    """Does something to provoke the hook; raises when it is noticed."""
    def act(guest, seconds):
        guest.run(f"stress --dir /mnt/write --seconds {seconds} --hang 60 "
                  f"--only {operations}", timeout=seconds + 120)
    return act


def reads_end(guest, _):
    """Whoever reads again what was read ahead, and is gone, gets done."""
    try:
        guest.run(f"stress --dir /mnt/write --seconds {SHORT} --only pread", timeout=60)
    except GuestError as error:
        if "in time" in str(error):
            raise GuestError("FAIL a read never ends") from None
        raise


def hold_volatile(way):
    """Lock, pin or write what is mapped, and volatile, after a host took what it may."""
    def act(guest, _):
        guest.run(f"locked start {way} /mnt/write/locked")
        guest.qmp.command("x-s390-cmma-discard", what="volatile")
        guest.run(f"locked end {way}")
    return act


def read_discarded(guest, _):
    """In as few requests as what is not in the page cache."""
    progress.make_file(guest, 4)
    requests, _ = progress.again(guest, "read", progress.FILE, 4)
    if requests > progress.REQUESTS:
        raise GuestError(f"FAIL to read again takes {requests:.1f} times the requests")


def progress_made(guest, _):
    """An instruction whose eight pages are discarded as soon as that is possible."""
    before = guest.qmp.command("x-query-s390-cmma")["discard-faults"]
    try:
        guest.run(f"{progress.NO_BATCHES} && mkdir -p /mnt/write && "
                  f"progress several /mnt/write {SEVERAL}", timeout=60)
    except GuestError as error:
        if "in time" in str(error):
            raise GuestError("FAIL an instruction is never done") from None
        raise
    faults = guest.qmp.command("x-query-s390-cmma")["discard-faults"] - before
    if faults > 8 * SEVERAL:
        raise GuestError(f"FAIL {faults} discard faults of {SEVERAL} times 8 pages")


def some_volatile(read):
    """8 MiB that were written are volatile late; what is read is so at once."""
    def act(guest, _):
        guest.run(f"{PATIENT}; rm -f /mnt/write/8")
        before, _ = reclaim.volatile(guest)
        guest.run("dd if=/dev/zero of=/mnt/write/8 bs=1M count=8 2>/dev/null; sync")
        if read:
            guest.run("echo 1 >/proc/sys/vm/drop_caches")
            before, _ = reclaim.volatile(guest)
            guest.run("dd if=/mnt/write/8 of=/dev/null bs=1M 2>/dev/null")
        else:
            guest.settle()
        now = int(guest.run("cat /sys/kernel/mm/page_hva/volatile_bytes")) // 4096
        # Who reads has references to a part of what is read.
        if now - before < 1500:
            raise GuestError(f"FAIL {now - before} of 2048 pages are volatile")
    return act


def pin_volatile(guest, seconds):
    """A device writes to pages that others look at all the time."""
    guest.run("echo 20 >/sys/kernel/debug/page_hva/late_ms")
    guest.run(f"pinned /mnt/write {seconds}", timeout=seconds + 60)


def potential(case):
    """A page of swap cache that is gone when it is needed; the limit of the group stays."""
    def act(guest, _):
        if guest.run(f"test -d {swap.GROUP}", check=False)[0]:
            swap.prepare(guest, "virtio-blk")
        try:
            swap.take(guest, "virtio-blk", case)
        except GuestError as error:
            # It takes a second.
            if "in time" in str(error):
                raise GuestError(f"FAIL {case} hangs") from None
            raise
    return act


def count_potential(guest, _):
    swap_hard(guest, SHORT)
    before = swap.counters(guest)["swap_potentially"]
    swap_hard(guest, SHORT)
    if swap.counters(guest)["swap_potentially"] == before:
        raise GuestError("FAIL no mapped page is potentially volatile")


def reuse_unused(guest, _):
    """Use pages that became unused."""
    free.wait_for_share(guest, free.LATER)
    guest.run(free.COMPILE.format(8))


def swap_hard(guest, seconds):
    """Anonymous memory on a disk of its own; a second run needs a new limit."""
    if guest.run(f"test -d {swap.GROUP}", check=False)[0]:
        swap.prepare(guest, "virtio-blk")
    guest.run(f"echo {swap.LIMIT}M >{swap.GROUP}/memory.max")
    swap.swapper(guest, "virtio-blk", seconds, 1)


def next_kernel(guest, _):
    """Another kernel of the same kind comes up where free and cached pages were."""
    kexec.reboot(guest, "page_hva=on kunit.enable=0", DEBUG, 1)


# policy and more are properties of the device, kernel fs comes with the disks of the
# file systems, and disk names a file to swap to.
Control = collections.namedtuple(
    "Control", "act policy append needs options memory more kernel on disk",
    defaults=("always", "", None, (), "1G", (), "debug", "on", None))
HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage"


# They are hooks of s390, or the constant that all others ask.
ARCH = {"enabled", "set_stable_data", "make_all_stable"}
# What has no control of its own, and why.
EXEMPT = {
    "drop@*": "follows a make_stable that has one: without it nobody would get any further",
    "shadow@*": "is what refault looks for",
    "enabled@*_init": "at boot",
    "enabled@do_discard_fault": "without page_hva=on nothing is volatile",
    "enabled@filemap_*": "the same as claim, which stands behind it",
    "lookup@__filemap_get_folio": "both of its halves have one",
    "make_stable@__page_hva_swap_claim": "is what swap_claim does",
    "enabled@hmm_range_fault": "no device of s390 here uses it",
    "set_stable_data@unused_memory_notify": "memory goes online: step free",
    "*@hva_*": "the unit tests",
}


class Skipped(Exception):
    """This machine can not run a control."""


# By the hooks that are switched off together, patterns of VERB@FUNCTION
CONTROLS = {
    "make_stable@__page_hva_lookup": Control(stress("pwrite")),
    "make_stable@page_hva_swap_lookup": Control(swap_hard, disk="swap-lookup"),
    "claim": Control(stress("splice,splice-hold,sendfile,loop")),
    "reread": Control(stress("pread")),
    "readahead": Control(read_discarded, policy="none"),
    "fault": Control(stress("copy-on-write,map-shared-write")),
    "make_room": Control(reads_end),
    "enabled@should_fault_around": Control(progress_made),
    "copy": Control(hold_volatile("private-write"), policy="none"),
    "make_stable@wp_page_shared": Control(stress("map-shared-write,read-into-mapping")),
    "make_stable@follow_page_pte":
        Control(stress("vm-readv,proc-mem,vmsplice,direct-write-from-mapping")),
    "make_stable@gup_fast_pte_range": Control(hold_volatile("pipe"), policy="none"),
    "make_stable@mlock_*": Control(hold_volatile("mlock-onfault"), policy="none"),
    "make_stable@migrate_folio_unmap": Control(stress("compact,map-shared-read,pread")),
    "make_stable@*collapse*": Control(stress("collapse"), needs=HUGE_PAGES),
    "make_all_stable": Control(next_kernel, options=list(kexec.images(DEBUG))),
    "make_stable@split_huge_page_*": Control(lambda guest, _: large.split(guest),
                                             policy="none", kernel="fs"),
    **{hook: Control(lambda guest, _, way=way: large.huge_mapping(way)(guest), policy="none",
                     kernel="fs") for way, hook in large.HUGE_HOOKS.items()},
    "vm_locked": Control(large.lock_race, kernel="fs"),
    "free": Control(stress("pread"), append="page_poison=on"),
    "sweep": Control(reclaim.swept, policy="none", memory="256M"),
    "resident@s*": Control(reclaim.met, policy="none", memory="256M"),
    "set_stable_data@__arch_alloc_page": Control(reuse_unused, more=("strict-unused=all",)),
    "swap_claim@folio_swapcache_freeable": Control(swap_hard, on="on,p", disk="swap-free"),
    "swap_claim@swap_writepage":
        Control(potential("pageout"), policy="none", on="on,p", disk="swap-write"),
    "end_read": Control(some_volatile(read=True), policy="none"),
    "make_volatile": Control(some_volatile(read=False), policy="none"),
    "make_unused": Control(lambda guest, _: free.becomes_unused(guest), policy="none"),
    "private": Control(pin_volatile, policy="none"),
    "resident@mincore_*,resident@filemap_cachestat":
        Control(reclaim.known, policy="none", memory="256M"),
    "refault": Control(reclaim.refaulted, policy="none", memory="256M"),
    "swap_in": Control(count_potential, policy="none", on="on,p", disk="swap-in"),
    "enabled@fault_in_user_writeable":
        Control(potential("futex"), policy="none", on="on,p", disk="touch-user"),
}


def file_name(hook):
    return re.sub(r"[^\w@]+", "-", hook)


def missing_controls():
    """Hooks of the kernel that no control switches off."""
    known = verbs()
    with Guest(place.QEMU, DEBUG, place.INITRD, append="page_hva=on kunit.enable=0",
               log=os.path.join(place.LOGS, "control-hooks.log")) as guest:
        there = hooks(guest)
    patterns = [pattern if "@" in pattern else f"{pattern}@*"
                for hook in [*CONTROLS, *EXEMPT] for pattern in hook.split(",")]
    for pattern in patterns:
        assert pattern in EXEMPT or fnmatch.filter(there, pattern), f"no hook is {pattern}"
    assert known >= {hook.partition("@")[0] for hook in there} - {"private"}, there
    return [hook for hook in there
            if not any(fnmatch.fnmatchcase(hook, pattern) for pattern in patterns)]


def one(hook, control):
    """Returns what was said when the hook was off; raises if nothing was."""
    start = time.monotonic()
    options = [*control.options]
    for setting in (f"policy={control.policy}", *control.more):
        options += ["-global", f"s390-cmma.{setting}"]
    disks = control.kernel == "fs"
    if disks:
        options += filesystems.disk_options()
    if control.disk:
        options += swap.swap_disk(place.out(f"{control.disk}.img"))
    with Guest(place.QEMU, place.kernel(control.kernel), place.INITRD,
               drive=None if disks else place.IMAGE, memory=control.memory,
               append=f"page_hva={control.on} kunit.enable=0 {control.append}",
               options=options,
               log=os.path.join(place.LOGS, f"control-{file_name(hook)}.log")) as guest:
        if disks:
            filesystems.name_disks(guest)
        if control.needs and guest.run(f"ls -d {control.needs}", check=False)[0]:
            raise Skipped(f"the guest has no {control.needs}: TCG lacks the facility EDAT-1")
        # Where all is taken at once, a debug kernel would read the same over and over.
        if control.policy == "none":
            guest.hurry()
        try:
            control.act(guest, SHORT)
        except GuestError as error:
            raise GuestError(f"with all hooks: {error}") from None
        guest.run(f"echo '{hook}' >{SKIP}")
        try:
            control.act(guest, LONG)
        except GuestError as error:
            words = COMPLAINT.search(guest.console.text()) or re.search(r"FAIL .*",
                                                                        str(error))
            # A test that must run into a time limit shows little.
            assert words, f"without it, nobody says what is wrong: {error}"
            return f"after {time.monotonic() - start:.0f} s: {words[0]}"
    raise AssertionError("without it, nothing fails")


def every_hook(report, *wanted):
    """Runs the controls of the hooks in the source, or of those that are named."""
    with report.test("controls: each hook of the kernel has a control"):
        missing = missing_controls()
        assert not missing, f"hooks without a control: {missing}"
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        results = {hook: pool.submit(one, hook, CONTROLS[hook])
                   for hook in wanted or CONTROLS}
        for hook, result in results.items():
            name = f"controls: it is noticed when the hook {hook} is off"
            if isinstance(result.exception(), Skipped):
                report.skipped(name, str(result.exception()))
                continue
            with report.test(name):
                print(f"#   {hook} {result.result()[:160]}", flush=True)
