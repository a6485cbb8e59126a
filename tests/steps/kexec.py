"""The next kernel, or the one that writes a dump, finds all memory stable."""

import itertools
import os

from harness import place
from harness.guest import Guest, GuestError

# What a panic says; the next kernel starts after it.
PANIC = r"sysrq: Trigger a crash|Kernel panic|Internal error|\bBUG: |\bOops\b|cut here"
# There have to be discarded pages where the next kernel goes.
FILL = "find /mnt/tree -type f | head -n 1000 | xargs cat >/dev/null"
NEXT = "cmma=off"
ROUNDS = itertools.count(1)


def images(kernel):
    """Options of a guest that can read the kernel and the initramfs from disks."""
    for number, path in enumerate((kernel, place.INITRD)):
        yield from ("-drive", f"file={path},if=none,id=image{number},format=raw,snapshot=on",
                    "-device", f"virtio-blk-ccw,drive=image{number},serial=image{number}")


def boot(name, append="", allow=None):
    options = ["-global", "s390-cmma.policy=always", "-global", "s390-cmma.strict-unused=all"]
    return Guest(place.QEMU, place.KERNEL, place.INITRD, drive=place.IMAGE, memory="512M",
                 append=f"page_hva=on {append}", options=[*options, *images(place.KERNEL)],
                 allow=allow, log=os.path.join(place.LOGS, f"{name}.log"))


def start(guest, how, command, words, kernel):
    """Load the next kernel and have the guest do what starts it; wait for it."""
    guest.run(FILL, timeout=120)
    for number, path in enumerate((kernel, place.INITRD)):
        # kexec wants files, and these may be volatile as well.
        guest.run("for d in /sys/block/vd*; do "
                  f"[ \"$(cat $d/serial)\" != image{number} ] || "
                  f"head -c {os.path.getsize(path)} /dev/${{d##*/}} "
                  f">/mnt/write/image{number}; done; sync")
    # The kernel goes where this one is, and what it does not need goes beyond.
    guest.run("truncate -s 24M /mnt/write/image1")
    mark = f"round={next(ROUNDS)}"
    guest.run(f"kexec {how} /mnt/write/image0 /mnt/write/image1 'panic=-1 {words} {mark}'",
              timeout=120)
    guest.ctl.sendall(command.encode() + b"\n")
    try:
        guest.wait_for_boot(60)
    except GuestError as error:
        raise GuestError(f"FAIL the next kernel does not start: {error}") from None
    if mark not in guest.run("cat /proc/cmdline"):
        raise GuestError("FAIL this is still the first kernel")


def reboot(guest, words=NEXT, kernel=place.KERNEL, seconds=1):
    """kexec in a guest that is up; the next kernel has to work."""
    start(guest, "load", "kexec go", words, kernel)
    guest.run(f"stress --dir /mnt/write --seconds {seconds} --hang 40", timeout=120)


def crash(guest):
    """kdump in a guest that is up; it has to read all of what the other left."""
    start(guest, "crash", "echo c >/proc/sysrq-trigger", f"{NEXT} nr_cpus=1", place.KERNEL)
    pages = guest.qmp.command("x-query-s390-cmma")["pages"]
    usage = {state: count for state, count in pages.items() if count and state[0] != "s"}
    assert not usage, f"FAIL not stable: {usage}"
    guest.run("dd if=/proc/vmcore of=/dev/null bs=1M && test -s /proc/vmcore", timeout=120)


def everything(report):
    with report.test("kexec: policy always, no access to unused pages is let pass; "
                     "the next kernel has cmma=off"), boot("kexec") as guest:
        reboot(guest)
        answer = guest.qmp.command("x-query-s390-cmma")
        assert not answer["violations"], f"violations: {answer['violations']}"
    with report.test("kexec: kdump finds all memory stable, and reads it; cmma=off"), \
            boot("kdump", append="crashkernel=128M", allow=PANIC) as guest:
        crash(guest)
        answer = guest.qmp.command("x-query-s390-cmma")
        assert not answer["violations"], f"violations: {answer['violations']}"
