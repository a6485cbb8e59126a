"""The stress program on every policy of the host."""

import os
import random
import re
import threading

from harness import place
from harness.guest import PATIENCE, Guest, GuestError
from harness.qmp import QmpError

SECONDS = 6             # for the ext4 run of one combination
POLICIES = ["none", "always", "random"]


class StressFailed(GuestError):
    """The stress program, or the kernel below it, failed; all before it went well."""


class Discarder(threading.Thread):
    """The host that takes everything, or so many pages, again and again, by command."""

    def __init__(self, guest, takes, every=0.3, **limit):
        super().__init__(daemon=True)
        # A guest that gets little time would do nothing but read the same again.
        self.every, self.limit = every * PATIENCE, limit
        self.guest = guest
        self.takes = takes
        self.end = threading.Event()
        self.taken = 0
        self.error = None

    def run(self):
        try:
            while not self.end.wait(self.every):
                for what in self.takes:
                    self.take(what)
        except (QmpError, OSError) as error:
            self.error = error

    def take(self, what):
        try:
            answer = self.guest.qmp.command("x-s390-cmma-discard", what=what, **self.limit)
        except QmpError as error:
            self.refused(error)
        else:
            self.taken += answer["discarded"]

    def refused(self, error):
        raise error

    def stop(self):
        self.end.set()
        self.join()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


def properties_of(policy, seed, takes):
    """What the device is told for such a host."""
    yield f"policy={policy}"
    if policy == "random":
        yield f"seed={seed}"
        yield "percent=30"
    if "evict" in takes:        # QEMU removes its name at once
        yield f"page-file={os.path.join(place.BUILD, f'page-file.{os.getpid()}')}"


def one(policy, cpus, pressure, seed, *, seconds=SECONDS, kernel=place.KERNEL,
        append="", more="", prepare=None, name=None, takes=None, properties=(),
        check=None, done=None, allow=None, memory=None, hurry=None):
    """One guest; stress on ext4, then shortly on ramfs.  Raises when it fails.

    takes is what the host takes by command all the time, properties are more
    settings of the device.  check is called with the guest first, done last; allow is
    for it, see there; memory is another size than the usual one.  With hurry pages turn
    volatile sooner than the kernel promises for the progress of accesses.  Kernels with
    debug options are too slow for that: they would read the same pages over and over.
    """
    if hurry is None:
        hurry = kernel == place.KERNEL
    name = name or f"stress-{policy}-{cpus}-{'pressure' if pressure else 'calm'}"
    if takes is None:
        takes = ("volatile", "unused") if policy == "none" else ()
    options = []
    for setting in (*properties_of(policy, seed, takes), *properties):
        options += ["-global", f"s390-cmma.{setting}"]
    words = f"--seed {seed} --hang 40 {more}"
    if pressure:
        words += " --mem-pressure 160"
    with Guest(place.QEMU, kernel, place.INITRD, drive=place.IMAGE, smp=cpus,
               memory=memory or ("320M" if pressure else "1G"),
               append=f"page_hva=on {append}", options=options, allow=allow,
               log=os.path.join(place.LOGS, f"{name}.log")) as guest:
        if check:
            check(guest)
        if hurry:
            guest.hurry()
        if prepare:
            guest.run(prepare)
        ext4 = f"stress --dir /mnt/write --seconds {seconds} {words}"
        try:
            if takes:
                with Discarder(guest, takes) as host:
                    guest.run(ext4, timeout=seconds + 120)
                assert not host.error, f"discard: {host.error}"
                assert host.taken, "the host found nothing to discard"
            else:
                guest.run(ext4, timeout=seconds + 120)
        except GuestError as error:
            raise StressFailed(str(error)) from None
        answer = guest.qmp.command("x-query-s390-cmma")
        if policy == "kvm":
            assert not answer["discard-faults"], "KVM presents no discard fault"
            assert not answer["essa"][3], "the guest trusts a host that loses data"
        else:
            assert answer["discard-faults"], \
                "the guest met no discarded page: the test shows nothing"
        if "evict" in takes:
            assert answer["paged-in"], "the guest touched no block that was paged out"
        guest.run("mkdir /tmp/ramfs && mount -t ramfs none /tmp/ramfs && "
                  f"stress --dir /tmp/ramfs --seconds 2 {words}", timeout=120)
        answer = guest.qmp.command("x-query-s390-cmma")
        assert not answer["violations"], f"violations: {answer['violations']}"
        if done:
            done(guest)


def matrix(report):
    seed = int(os.environ.get("STRESS_SEED") or
               random.SystemRandom().randrange(1, 1 << 31))
    print(f"# repeat it with STRESS_SEED={seed} tests/check stress")
    for policy in POLICIES:
        # The other pairs of these are jobs of make soak.
        for cpus, pressure in ((2, False), (4, True)):
            with report.test(f"stress: policy {policy}, {cpus} vCPUs, "
                             f"{'with' if pressure else 'without'} memory "
                             f"pressure, ext4 and ramfs, seed {seed}"):
                one(policy, cpus, pressure, seed)
    # A process that is alone shows livelocks which others would end by chance.
    with report.test(f"stress: policy always, one process locks its memory, seed {seed}"):
        one("always", 2, False, seed, more="--procs 1 --only mlock,populate",
            name="stress-alone")


def says(report):
    """What the kernel says about hosts that it does not trust."""
    for words, expected in (
            ("page_hva=on", "refused: this host is not known to deliver discard faults"),
            ("page_hva=force", "forced: if this host does not deliver .* data is lost"),
            ("page_hva=force cmma=off", "refused: no ESSA instruction, or switched off"),
            ("", None)):
        with report.test(f"hosts: policy kvm, '{words}': the kernel says what it does"), \
                Guest(place.QEMU, place.KERNEL, place.INITRD, append=words,
                      options=["-global", "s390-cmma.policy=kvm"],
                      log=os.path.join(place.LOGS, "hosts-say.log")) as guest:
            said = guest.run("dmesg | grep 'page_hva: ' || :").strip()
            assert re.search(expected, said) if expected else not said, \
                f"it says '{said}'"


def hosts(report):
    """Hosts that page out, that are like KVM, and that hold the guest to its word."""
    seed = 1
    says(report)
    with report.test("stress: the host evicts everything all the time"):
        one("none", 2, False, seed, takes=("evict", "volatile"), name="stress-evict")
    with report.test("stress: policy kvm, swapped out and aged; page_hva=on declines"):
        one("kvm", 2, False, seed, takes=("evict", "age"), name="stress-kvm")
    with report.test("stress: policy always, discarded blocks are poisoned"):
        one("always", 2, False, seed, properties=("poison=on",), name="stress-poison")
    with report.test("stress: policy always, no access to unused pages is let pass"):
        one("always", 2, False, seed, properties=("strict-unused=all",),
            name="stress-strict")
