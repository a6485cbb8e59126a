"""Anonymous memory on a swap device, on every policy of the host."""

import os
import re

from harness import place
from harness.guest import Guest
from steps.stress import Discarder, properties_of

SECONDS = 6
MIB, LIMIT = 64, 24             # what the processes have, and may have in memory
STAT = "cd /sys/kernel/debug/page_hva && for name in swap_*; do echo $name $(cat $name); done"
GROUP = "/tmp/group/swap"
# Device, and how it comes to be.
DEVICES = {
    "virtio-blk": ("/dev/swap-disk",
                   "for disk in /sys/block/vd*; do grep -qx swap $disk/serial && "
                   "ln -sf ${disk##*/} /dev/swap-disk; done; test -b /dev/swap-disk"),
    "zram": ("/dev/zram0", f"echo {3 * MIB // 2}M >/sys/block/zram0/disksize"),
}


def swap_disk(path):
    """Words of QEMU for a disk of its own; the serial number keeps init away."""
    with open(path, "wb") as disk:
        disk.truncate(3 * MIB // 2 << 20)
    return ["-drive", f"file={path},if=none,id=swap,format=raw,cache=unsafe",
            "-device", "virtio-blk-ccw,drive=swap,serial=swap"]


def prepare(guest, device):
    guest.run(f"mkdir -p /tmp/group && mount -t cgroup2 none /tmp/group && "
              f"echo +memory >/tmp/group/cgroup.subtree_control && mkdir {GROUP} && "
              f"echo {LIMIT}M >{GROUP}/memory.max && {DEVICES[device][1]}")


def in_group(command):
    return f"sh -c 'echo 0 >{GROUP}/cgroup.procs && exec {command}'"


def swapper(guest, device, seconds, seed):
    return guest.run(in_group(f"swapper {DEVICES[device][0]} {GROUP}/memory.max {MIB} "
                              f"{seconds} {seed}"), timeout=seconds + 200)


def counters(guest):
    return {name: int(value)
            for name, value in re.findall(r"(\w+) (\d+)", guest.run(STAT))}


def one(device, policy, seed, *, seconds=SECONDS, kernel=place.KERNEL, on="on",
        append="", act=None, name=None):
    """One guest; returns what its kernel counted.  act is done before."""
    name = name or f"swap-{device}-{policy}"
    disk = os.path.join(place.BUILD, f"{name}.{os.getpid()}.img")
    options = swap_disk(disk)
    for setting in properties_of(policy, seed, ()):
        options += ["-global", f"s390-cmma.{setting}"]
    try:
        with Guest(place.QEMU, kernel, place.INITRD, memory="256M",
                   append=f"page_hva={on} {append}", options=options,
                   log=os.path.join(place.LOGS, f"{name}.log")) as guest:
            prepare(guest, device)
            guest.hurry()
            if act:
                act(guest)
            if policy == "none":
                with Discarder(guest, ("volatile",)) as host:
                    text = swapper(guest, device, seconds, seed)
                assert not host.error, f"discard: {host.error}"
            else:
                text = swapper(guest, device, seconds, seed)
            answer = guest.qmp.command("x-query-s390-cmma")
            assert not answer["violations"], f"violations: {answer['violations']}"
            return text, counters(guest)
    finally:
        os.unlink(disk)


def take(guest, device, case, timeout=60):
    """One case of the program potential, for which the host takes pages in between."""
    def on_line(line):
        if line.strip() == "discard":
            guest.qmp.command("x-s390-cmma-discard", what="volatile")

    return guest.run(in_group(f"potential {DEVICES[device][0]} {case} "
                              f"{GROUP}/memory.reclaim"), timeout=timeout, on_line=on_line)


def potential(report, device, kernel=place.KERNEL, wanted=(), name="swap-potential"):
    """Potentially volatile pages that are taken when it is least convenient."""
    disk = os.path.join(place.BUILD, f"{name}.{os.getpid()}.img")
    options = swap_disk(disk) + ["-global", "s390-cmma.policy=none"]
    cases = list(wanted)
    try:
        # Another guest if one fails.
        while cases or not wanted:
            with Guest(place.QEMU, kernel, place.INITRD, memory="256M",
                       append="page_hva=on,p kunit.enable=0", options=options,
                       log=os.path.join(place.LOGS, f"{name}.log")) as guest:
                prepare(guest, device)
                wanted = cases = cases or guest.run("potential list").split()
                good = True
                while cases and good:
                    case, cases, good = cases[0], cases[1:], False
                    with report.test(f"swap: {device}, potentially volatile pages are "
                                     f"gone: {case}"):
                        take(guest, device, case)
                        answer = guest.qmp.command("x-query-s390-cmma")
                        assert not answer["violations"], f"violations: {answer}"
                        good = True
    finally:
        os.unlink(disk)


def everything(report):
    seed = 1
    # All combinations, and for longer, are in tests/steps/soak.py.
    for device, policy in (("virtio-blk", "always"), ("virtio-blk", "random"), ("zram", "none")):
        with report.test(f"swap: {device}, policy {policy}"):
            text, count = one(device, policy, seed)
            assert count["swap_made_volatile"], "no page of the swap cache was volatile"
            assert count["swap_dropped"], "no page of the swap cache was discarded"
            print(f"#   {text.strip().splitlines()[-1]}; volatile in the swap cache "
                  f"{count['swap_made_volatile']}, discarded {count['swap_dropped']}",
                  flush=True)
    with report.test("swap: virtio-blk, policy random, potentially volatile"):
        count = one("virtio-blk", "random", seed, on="on,p", name="swap-p")[1]
        assert count["swap_potentially"], "no mapped page was"
    # The debug kernel sees locks taken in the wrong order.
    potential(report, "virtio-blk", place.kernel("debug"))
    potential(report, "zram")
