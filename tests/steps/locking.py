"""Locked and pinned pages stay; afterwards they are volatile again."""

import os

from harness import place
from harness.guest import Guest, GuestError

STABLE, VOLATILE = 0x0, 0xc     # usage, as ESSA gives it
USAGE = 0xc
# Kinds of `locked list` whose pages may go at any time.
LOOSE = ["map-populate", "private-write", "huge-pipe", "huge-readv"]
# Locks what was mapped before; under policy always that is gone, and faults once.
ONFAULT = ["mlock-onfault", "mlock-part", "mlockall-onfault"]
PRESSURE = ("mkdir -p /mnt/write/p && stress --dir /mnt/write/p --only scan,mlock,fork "
            "--procs 2 --seconds 8 --hang 60 --mem-pressure 700")


def boot(name, properties, kernel=None, append=""):
    options = []
    for setting in properties:
        options += ["-global", f"s390-cmma.{setting}"]
    return Guest(place.QEMU, kernel or place.KERNEL, place.INITRD, drive=place.IMAGE,
                 append=f"page_hva=on {append}", options=options,
                 log=os.path.join(place.LOGS, f"{name}.log"))


class Holders:
    """Processes in the guest, each of which holds pages of a file of its own."""

    def __init__(self, guest, kinds=None):
        self.guest = guest
        self.kinds = kinds or guest.run("locked list").split()
        self.frames = {}
        # Migration moves locked pages, too, and whoever touches them then faults.
        guest.run("echo 0 >/proc/sys/vm/compact_unevictable_allowed; "
                  "mount -o remount,noatime /mnt")

    def start(self):
        for kind in self.kinds:
            answer = self.guest.run(f"locked start {kind} /mnt/write/{kind}")
            words = answer.split()
            if not words or words[0] != "frames":
                raise GuestError(f"locked start {kind}: {answer.strip()}")
            self.frames[kind] = [int(word) for word in words[1:]]

    def usages(self):
        """For each kind, how many of its frames have which usage."""
        answer = self.guest.qmp.command("x-query-s390-cmma", map=True)
        usage = {}
        wanted = {frame for frames in self.frames.values() for frame in frames}
        for run in answer["map"]:
            for frame in range(run["first"], run["first"] + run["count"]):
                if frame in wanted:
                    usage[frame] = run["state"] & USAGE
        table = {}
        for kind, frames in self.frames.items():
            table[kind] = {}
            for frame in frames:
                table[kind][usage[frame]] = table[kind].get(usage[frame], 0) + 1
        return table

    def must_be(self, state, word, kinds, share=1):
        table = self.usages()
        bad = [f"{kind}: {table[kind].get(state, 0)} of {len(self.frames[kind])}"
               for kind in kinds
               if table[kind].get(state, 0) < share * len(self.frames[kind])]
        assert not bad, f"frames that are {word}: {', '.join(bad)}"

    def end(self):
        """Each says what it met; returns the text of those that failed."""
        bad = []
        for kind in self.kinds:
            status, text = self.guest.run(f"locked end {kind}", check=False)
            if status:
                bad.append(text.strip())
        return bad


def calm(report):
    """A host that takes volatile pages by command, and shows the state of each."""
    with boot("locking-none", ["policy=none"]) as guest:
        holders = Holders(guest)
        held = [kind for kind in holders.kinds if kind not in LOOSE]
        with report.test("locking: what is locked or pinned is stable"):
            holders.start()
            for _ in range(3):
                guest.settle()
                guest.qmp.command("x-s390-cmma-discard", what="volatile")
                holders.must_be(STABLE, "stable", held)
                guest.run("echo 1 >/proc/sys/vm/drop_caches")
        with report.test("locking: locked memory does not fault, and all is right"):
            bad = holders.end()
            assert not bad, "\n".join(bad)
        with report.test("locking: unlocked, unmapped and read, all is volatile"):
            guest.settle()
            holders.must_be(VOLATILE, "volatile", held)


def torture(report, policies=("always", "random")):
    """A host that discards at once, a guest that is short of memory."""
    for policy in policies:
        properties = [f"policy={policy}"]
        if policy == "random":
            properties += ["seed=1", "percent=30"]
        with report.test(f"locking: locked memory does not fault, policy {policy}, "
                         "under memory pressure"):
            with boot(f"locking-{policy}", properties) as guest:
                kinds = guest.run("locked list").split()
                holders = Holders(guest, [k for k in kinds if k not in ONFAULT])
                guest.hurry()
                holders.start()
                guest.run(PRESSURE, timeout=180)
                bad = holders.end()
                assert not bad, "\n".join(bad)


def quick(report):
    calm(report)
    torture(report, ["always"])


def everything(report):
    calm(report)
    torture(report)
