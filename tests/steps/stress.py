"""The stress program on every policy of the host."""

import os
import random
import threading

from harness import place
from harness.guest import Guest, GuestError
from harness.qmp import QmpError

SECONDS = 6             # for the ext4 run of one combination
POLICIES = ["none", "always", "random"]


class StressFailed(GuestError):
    """The stress program, or the kernel below it, failed; all before it went well."""


class Discarder(threading.Thread):
    """The host that takes everything, several times a second, by command."""

    def __init__(self, guest):
        super().__init__(daemon=True)
        self.guest = guest
        self.end = threading.Event()
        self.taken = 0
        self.error = None

    def run(self):
        try:
            while not self.end.wait(0.3):
                for what in ("volatile", "unused"):
                    answer = self.guest.qmp.command("x-s390-cmma-discard", what=what)
                    self.taken += answer["discarded"]
        except (QmpError, OSError) as error:
            self.error = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.join()


def one(policy, cpus, pressure, seed, *, seconds=SECONDS, kernel=place.KERNEL,
        append="", more="", prepare=None, name=None):
    """One guest; stress on ext4, then shortly on ramfs.  Raises when it fails."""
    name = name or f"stress-{policy}-{cpus}-{'pressure' if pressure else 'calm'}"
    options = ["-global", f"s390-cmma.policy={policy}"]
    if policy == "random":
        options += ["-global", f"s390-cmma.seed={seed}",
                    "-global", "s390-cmma.percent=30"]
    words = f"--seed {seed} --hang 40 {more}"
    if pressure:
        words += " --mem-pressure 160"
    with Guest(place.QEMU, kernel, place.INITRD, drive=place.IMAGE, smp=cpus,
               memory="320M" if pressure else "1G",
               append=f"page_hva=on {append}", options=options,
               log=os.path.join(place.LOGS, f"{name}.log")) as guest:
        if prepare:
            guest.run(prepare)
        ext4 = f"stress --dir /mnt/write --seconds {seconds} {words}"
        try:
            if policy == "none":
                with Discarder(guest) as host:
                    guest.run(ext4, timeout=seconds + 120)
                assert not host.error, f"discard: {host.error}"
                assert host.taken, "the host found nothing to discard"
            else:
                guest.run(ext4, timeout=seconds + 120)
        except GuestError as error:
            raise StressFailed(str(error)) from None
        faults = guest.qmp.command("x-query-s390-cmma")["discard-faults"]
        assert faults, "the guest met no discarded page: the test shows nothing"
        guest.run("mkdir /tmp/ramfs && mount -t ramfs none /tmp/ramfs && "
                  f"stress --dir /tmp/ramfs --seconds 2 {words}", timeout=120)
        answer = guest.qmp.command("x-query-s390-cmma")
        assert not answer["violations"], f"violations: {answer['violations']}"


def matrix(report):
    seed = int(os.environ.get("STRESS_SEED") or
               random.SystemRandom().randrange(1, 1 << 31))
    print(f"# repeat it with STRESS_SEED={seed} tests/check stress")
    for policy in POLICIES:
        for cpus in (2, 4):
            for pressure in (False, True):
                with report.test(f"stress: policy {policy}, {cpus} vCPUs, "
                                 f"{'with' if pressure else 'without'} memory "
                                 f"pressure, ext4 and ramfs, seed {seed}"):
                    one(policy, cpus, pressure, seed)
    # A process that is alone shows livelocks which others would end by chance.
    with report.test(f"stress: policy always, one process locks its memory, seed {seed}"):
        one("always", 2, False, seed, more="--procs 1 --only mlock,populate",
            name="stress-alone")
