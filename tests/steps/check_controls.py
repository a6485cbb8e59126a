"""Each hook has a control: something that passes, and fails when the hook is off."""

import collections
import concurrent.futures
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
                       r"BUG: .*|Kernel panic.*")
DEBUG = place.kernel("debug")
AT_ONCE = 2             # guests: much of the time one of them boots, on one CPU


def source(path):
    with open(os.path.join(place.ROOT, path), encoding="utf-8") as file:
        return file.read()


def hooks_of_the_source():
    """The names, in order; what names them must agree."""
    sites = re.findall(r"^\tPAGE_HVA_SITE_(\w+),", source("include/linux/page_hva.h"),
                       re.MULTILINE)
    names = dict(re.findall(r'\[PAGE_HVA_SITE_(\w+)\]\s*=\s*"(\w+)"',
                            source("mm/page_hva_debug.c")))
    table = re.search(r"^Hooks\n=+\n.*?^name +where[^\n]*\n=+ +=+\n(.*?)^=+ +=+$",
                      source("Documentation/mm/page_hva.rst"), re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^(\w+) ", table[1], re.MULTILINE) if table else []
    assert sites, "no hook is found in the source"
    assert set(sites) == set(names), \
        f"hooks without a name, or names without one: {set(sites) ^ set(names)}"
    assert set(rows) == set(names.values()), \
        f"hooks that the documentation lacks, or invents: {set(rows) ^ set(names.values())}"
    return [names[site] for site in sites]


def stress(operations):
    """Does something to provoke the hook; raises when it is noticed."""
    def act(guest, seconds):
        guest.run(f"stress --dir /mnt/write --seconds {seconds} --hang 60 "
                  f"--only {operations}", timeout=seconds + 120)
    return act


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
    free.wait_for_share(guest)
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


class Skipped(Exception):
    """This machine can not run a control."""


CONTROLS = {
    "lookup": Control(stress("pwrite")),
    "swap_lookup": Control(swap_hard, disk="swap-lookup"),
    "read": Control(stress("splice,splice-hold,sendfile,loop")),
    "short_read": Control(stress("pread")),
    "read_again": Control(read_discarded, policy="none"),
    "fault": Control(stress("copy-on-write,map-shared-write")),
    "copy": Control(hold_volatile("private-write"), policy="none"),
    "wp_shared": Control(stress("map-shared-write,read-into-mapping")),
    "gup": Control(stress("vm-readv,proc-mem,vmsplice,direct-write-from-mapping")),
    "gup_fast": Control(hold_volatile("pipe"), policy="none"),
    "mlock": Control(hold_volatile("mlock-onfault"), policy="none"),
    "migrate": Control(stress("compact,map-shared-read,pread")),
    "collapse": Control(stress("collapse"), needs=HUGE_PAGES),
    "hand_over": Control(next_kernel, options=list(kexec.images(DEBUG))),
    "split": Control(lambda guest, _: large.split(guest), policy="none", kernel="fs"),
    "free": Control(stress("pread"), append="page_poison=on"),
    "sweep": Control(reclaim.swept, policy="none", memory="256M"),
    "reclaim": Control(reclaim.met, policy="none", memory="256M"),
    "unused": Control(reuse_unused, more=("strict-unused=all",)),
    "swap_free": Control(swap_hard, on="on,p", disk="swap-free"),
    "swap_write": Control(swap_hard, on="on,p", disk="swap-write"),
    "read_end": Control(some_volatile(read=True), policy="none"),
    "candidate": Control(some_volatile(read=False), policy="none"),
    "private": Control(pin_volatile, policy="none"),
    "in_core": Control(reclaim.known, policy="none", memory="256M"),
    "refault": Control(reclaim.refaulted, policy="none", memory="256M"),
    "swap_in": Control(count_potential, policy="none", on="on,p", disk="swap-in"),
    "swap_dirty": Control(swap_hard, on="on,p", disk="swap-dirty"),
    "touch_user": Control(potential("futex"), policy="none", on="on,p", disk="touch-user"),
}


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
               log=os.path.join(place.LOGS, f"control-{hook}.log")) as guest:
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
        guest.run(f"echo {hook} >{SKIP} && grep -x '{hook} off' {SKIP}")
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
    with report.test("controls: the hooks of the source are those with a control"):
        hooks = hooks_of_the_source()
        assert set(hooks) == set(CONTROLS), \
            f"hooks without a control, or the reverse: {set(hooks) ^ set(CONTROLS)}"
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
