"""A host that takes memory when it is short of it: policy "pressure", in a real cgroup."""

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

from harness import place
from harness.bare import Bare
from harness.bench import MIB, PAGE
from harness.cgroup import Group, Skip
from harness.guest import PATIENCE, Guest, GuestError

MEMORY, CODE = 256, 32                  # MiB of a guest, and of what QEMU translates
LOW, HIGH = 32, 64                      # MiB left: take, until so much is
# MiB that may be taken too much or too little: usage changes meanwhile.
TOO_MUCH = 12
# While guests read it again, they need it as fast as they can.
READ = "cd /mnt/tree && find . -type f -size +31k | sort | head -{} | xargs cat | md5sum"
FILES = 2000


def boot(number, group, *properties):
    words = [word for name in ("policy=pressure", *properties)
             for word in ("-global", f"s390-cmma.{name}")]
    # The host's page cache would count as memory of the group.
    drive = ["-drive", f"file={place.IMAGE},if=none,id=disk,format=raw,read-only=on,cache=none",
             "-device", "virtio-blk-ccw,drive=disk"]
    guest = Guest(place.QEMU, place.KERNEL, place.INITRD, smp=1, memory=f"{MEMORY}M",
                  append="page_hva=on", options=words + drive, code=CODE,
                  log=os.path.join(place.LOGS, f"pressure-{number}.log"))
    guest.command_line[:0] = group.run_there()
    return guest


def state(guest):
    """What the host has done."""
    return guest.qmp.command("x-query-s390-cmma")


def until(what, done, seconds=20):
    end = time.monotonic() + seconds * PATIENCE
    while not done():
        if time.monotonic() > end:
            raise GuestError(f"{what}: not in {seconds} s")
        time.sleep(0.05)


class Pair:
    """Two guests in a cgroup, their cache full."""

    def __init__(self, group, guests):
        self.group, self.guests = group, guests
        self.sums = self.read()
        for guest in guests:
            guest.settle()

    def read(self):
        """What both say of their files; both at once."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda guest: guest.run(READ.format(FILES), timeout=300),
                                 self.guests))

    def left(self):
        """MiB."""
        return (self.group.limit() - self.group.used()) / MIB

    def squeeze(self, mib):
        """Let the limit leave so many MiB, and wait for what QEMU makes of that."""
        self.group.set_limit(self.group.used() + mib * MIB)
        time.sleep(0.3)     # each looks four times a second
        until("enough is left, or nothing can be taken", lambda: not any(
            one["acting"] for one in self.taken()) and (self.left() >= LOW or all(
                one["exhausted"] for one in self.taken())))

    def swapped(self):
        """Pages of the group that are swapped out, or were and came back."""
        stat = self.group.stat()
        return stat["swap"] // PAGE + stat["workingset_refault_anon"]

    def taken(self):
        return [state(guest)["pressure"] for guest in self.guests]


def in_need(report, pair):
    """Nothing before it is needed, then as much as is missing, and fairly."""
    # Guests that boot have free pages for long, but the group has no limit.
    stops = [state(guest)["stops"] for guest in pair.guests]
    report.result(stops == [0, 0], "pressure: without need, nothing is taken", f"{stops} stops")

    swapped = pair.swapped()
    overshoot = []
    for _ in range(4):
        pair.squeeze(LOW * 3 // 4)     # with less, nobody waits for the other
        overshoot.append(pair.left() - HIGH)
    took = pair.taken()
    mib = [(one["taken-unused"] + one["taken-volatile"]) * PAGE / MIB for one in took]
    for number, one in enumerate(took):
        print(f"#   guest {number}: {mib[number]:.0f} MiB ({one['taken-unused']} unused, "
              f"{one['taken-volatile']} volatile blocks), longest stop "
              f"{one['longest-ns'] / 1e6:.2f} ms")
    print(f"#   left over {HIGH} MiB: {', '.join(f'{over:.1f}' for over in overshoot)} MiB")
    report.result(-TOO_MUCH <= min(overshoot) and max(overshoot) <= TOO_MUCH,
                  "pressure: as much is taken as is missing", f"{overshoot} MiB")
    report.result(max(mib) <= 1.5 * min(mib), "pressure: two guests share fairly", f"{mib}")
    swapped = pair.swapped() - swapped
    failed = pair.group.met()
    report.result(not failed and not swapped, "pressure: the limit is never met, nothing swapped",
                  f"met {failed} times, {swapped} pages swapped out")
    sums = pair.read()
    report.result(sums == pair.sums == [sums[0]] * 2,
                  "pressure: what was taken is read again, each byte right", f"{sums}")


def exhausted(report, pair):
    """With too little to take it says so, once, and the guests go on."""
    for _ in range(30):
        if all(one["exhausted"] for one in pair.taken()):
            break
        # Not below what is left when all was taken: that would be swapped.
        pair.squeeze(1)
    took = pair.taken()
    report.result(all(one["exhausted"] for one in took),
                  "pressure: with nothing to take, it says so", f"{took}")
    time.sleep(2.5)
    for guest in pair.guests:
        stops = state(guest)["stops"]
        time.sleep(1.5)
        more = state(guest)["stops"] - stops
        report.result(guest.run("echo alive").strip() == "alive" and more <= 4,
                      "pressure: then the guest goes on", f"{more} stops")


def stalls(report, group, number):
    """The host says that somebody waits for memory."""
    with boot(number, group, "pressure-low=0", "pressure-high=16M",
              "pressure-stall=1000") as guest:
        guest.run(READ.format(FILES // 10), timeout=200)
        guest.settle()
        before = state(guest)["pressure"]
        # Half of it is swapped out, and the guest waits for that to come back.
        with contextlib.suppress(OSError):
            group.set_limit(group.usage() // 2)
        guest.run(READ.format(FILES // 10), timeout=200)
        def taken():
            now = state(guest)["pressure"]
            return now["taken-volatile"] + now["taken-unused"]

        until("a stall", lambda: taken() > before["taken-volatile"] + before["taken-unused"])
        took = state(guest)["pressure"]
        # Others of this machine may have waited before.
        report.result(took["stalls"] > before["stalls"],
                      "pressure: a stall makes it take blocks", f"{before}, {took}")
        group.set_limit(None)


def hierarchy(report):
    """A guest without an operating system, which is quick, and a cgroup in another one."""
    options = [word for value in ("policy=pressure", f"pressure-low={LOW}M",
                                  f"pressure-high={HIGH}M")
               for word in ("-global", f"s390-cmma.{value}")]
    with report.test("pressure: the limits of QEMU's cgroup and of the one above count"), \
            Group("check-room", 256) as above, above.below("one") as own, \
            Bare("bench-scale", "512M", options=options, before=own.run_there()) as guest:
        _, blocks = guest.round()
        assert not state(guest)["stops"], "blocks are taken without need"
        for group in (own, above):
            group.set_limit(group.used() + LOW * 3 // 4 * MIB)
            until("enough is left", lambda: not state(guest)["pressure"]["acting"] and
                  group.limit() - group.used() >= LOW * MIB)
            left = (group.limit() - group.used()) / MIB
            print(f"#   {left - HIGH:+.1f} MiB over {HIGH}")
            assert abs(left - HIGH) <= TOO_MUCH, f"{left:.1f} MiB are left, not {HIGH}"
            assert not group.met(), f"the limit was met {group.met()} times"
            swap = group.stat()["swap"]
            assert not swap, f"{swap} bytes are swapped out"
            group.set_limit(None)
        took = state(guest)["pressure"]
        assert 0 < took["taken-volatile"] < blocks, f"{took} of {blocks}"

    options[-1:] = ["s390-cmma.pressure-high=16M", "-global", "s390-cmma.pressure-low=0",
                    "-global", "s390-cmma.pressure-stall=1000"]
    with report.test("pressure: a stall of QEMU's cgroup counts"), \
            Group("check-room", 512) as above, above.below("one") as own, \
            Bare("bench-scale", "512M", options=options, before=own.run_there()) as guest:
        guest.round()
        # The guest writes to as much as before, of which half is swapped out all the time.
        with contextlib.suppress(OSError):
            own.set_limit(own.usage() // 2)
        guest.next()
        guest.round()
        until("a stall", lambda: state(guest)["pressure"]["taken-volatile"])
        own.set_limit(None)


def everything(report):
    try:
        with report.test("pressure: a cgroup and guests") as test:
            with contextlib.ExitStack() as stack:
                group = stack.enter_context(Group("check-pressure", 512))
                pair = Pair(group, [stack.enter_context(boot(number, group))
                                    for number in range(2)])
                in_need(report, pair)
                exhausted(report, pair)
            with Group("check-pressure", 512) as group:
                stalls(report, group, 2)
    except Skip as skip:
        report.skipped("pressure: a cgroup and guests", str(skip))


def room(report):
    try:
        hierarchy(report)
    except Skip as skip:
        report.skipped("pressure: cgroups in others", str(skip))
