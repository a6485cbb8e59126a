"""What the host sees of devices that access blocks they must not access."""

import contextlib
import os
import re
import select
import subprocess
import tempfile

from harness import place
from harness.guest import Guest, GuestError
from harness.qmp import Qmp
from steps import free

BARE = os.path.join(place.ROOT, "tests", "bare")
IMAGE = os.path.join(place.BUILD, "bare", "bare.elf")
TREE = "cd /mnt && treesum read sums tree/mm/ && treesum mmap sums tree/mm/"
# Small reads would be slow with policy "always", which takes the page after each.
COPY = ("cd /mnt && "
        "dd if=/dev/urandom of=x bs=1M count=2 && sync && sha512sum <x >x.sum && "
        "echo 3 >/proc/sys/vm/drop_caches && sha512sum <x | cmp - x.sum && "
        "dd if=x of=y bs=1M iflag=direct oflag=direct && sha512sum <y | cmp - x.sum")


class Traces:
    """What QEMU traced: a set of (what, device, page, state)."""

    def __init__(self, path):
        self.violations = 0     # lines
        self.seen = set()
        self.path = path
        if os.path.exists(path):
            os.unlink(path)

    def options(self, check):
        return ["-trace", "s390_cmma_device_*", "-D", self.path,
                "-global", f"virtio-ccw-device.cmma-check={check}"]

    def read(self):
        if not os.path.exists(self.path):
            return
        with open(self.path, encoding="utf-8") as file:
            for line in file:
                match = re.search(
                    r"s390_cmma_device_(violation|resident) (.*): address 0x(\w+)"
                    r"(?: write (\d))? state 0x(\w+)", line)
                if not match:
                    continue
                what, device, address, write, state = match.groups()
                if what == "violation":
                    self.violations += 1
                    what = "write" if int(write) else "read"
                self.seen.add((what, device, int(address, 16) & ~0xfff,
                               int(state, 16) & 0xf))


class BareMetal:
    """tests/bare in its mode "device", booted and over.

    lines are the guest's, expected is what it says that must be traced, answer is the
    host's to the query at the end (None if QEMU did not live that long).
    """

    def __init__(self, check):
        self.traces = Traces(os.path.join(place.LOGS, f"device-{check}.trace"))
        self.lines, self.expected, self.answer = [], set(), None
        with tempfile.TemporaryDirectory(prefix="page_hva.") as tmp, \
                open(os.path.join(tmp, "errors"), "w+", encoding="utf-8") as errors:
            self.qmp_path = os.path.join(tmp, "qmp")
            command = [
                place.QEMU, "-nodefaults", "-display", "none", "-no-reboot",
                # Its totals end the guest, and only then QEMU is asked for its own.
                *([] if check == "fatal" else ["-no-shutdown"]),
                "-M", "s390-ccw-virtio", "-cpu", "max",
                "-accel", "tcg,thread=multi", "-m", "64M", "-smp", "2",
                "-kernel", IMAGE, "-append", "device",
                "-chardev", "stdio,id=con,signal=off",
                "-device", "sclpconsole,chardev=con",
                "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
                "-global", "s390-cmma.policy=always",
                "-global", f"s390-cmma.page-file={os.path.join(tmp, 'pages')}",
                "-object", "rng-builtin,id=random",
                # Only a notification makes it look at the queue, in the thread of the CPU.
                "-device", "virtio-rng-ccw,rng=random,id=rng0,ioeventfd=off",
                *self.traces.options(check)]
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=errors,
                                  stdout=subprocess.PIPE) as process:
                try:
                    self.follow(process.stdout.fileno())
                except BaseException:
                    process.kill()
                    raise
            self.status = process.returncode
            errors.seek(0)
            self.said = errors.read().strip()
        self.traces.read()

    def follow(self, console):
        """Obey and note the lines of the guest until its totals, or its end."""
        pending = b""
        while not self.answer:
            if not select.select([console], [], [], 20)[0]:
                raise GuestError(f"no line within 20 s after {self.lines[-3:]}")
            data = os.read(console, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self.line(line.decode("latin-1").rstrip("\r"))

    def line(self, line):
        self.lines.append(line)
        words = line.split()
        if line.startswith("@@discard "):
            self.command("x-s390-cmma-discard", what=words[1])
        elif line.startswith("@@"):
            self.expected.add((words[0][2:], "virtio-rng-ccw rng0",
                               int(words[1], 16), int(words[2], 16)))
        elif line.startswith("# Totals"):
            self.answer = self.command("x-query-s390-cmma")
            self.command("quit")

    def command(self, name, **arguments):
        qmp = Qmp(self.qmp_path)
        try:
            return qmp.command(name, **arguments)
        finally:
            qmp.close()


def difference(expected, seen):
    def text(entries):
        return [f"{what} {device} 0x{page:x} state {state:x}"
                for what, device, page, state in sorted(entries)]

    return f"not seen: {text(expected - seen)}, not planted: {text(seen - expected)}"


def planted(report):
    """A bare-metal driver of virtio-rng that gives the device wrong blocks."""
    subprocess.run(["make", "-s", "-C", BARE, f"O={os.path.dirname(IMAGE)}"],
                   check=True, stdout=subprocess.DEVNULL)
    guest = None
    with report.test("device: a bare-metal guest with wrong buffers and rings runs"):
        guest = BareMetal("count")
        bad = [line for line in guest.lines
               if line.startswith(("not ok", "# ", "Bail out!"))
               and not line.startswith("# Totals")]
        assert guest.answer and not bad, f"{bad} {guest.said}"
    if not guest:
        return
    with report.test("device: each wrong access, and nothing else, is traced with "
                     "device and address"):
        assert {entry[0] for entry in guest.expected} == {"read", "write", "resident"}, \
            f"planted: {guest.expected}"
        assert guest.traces.seen == guest.expected, \
            difference(guest.expected, guest.traces.seen)
    with report.test("device: each wrong access is counted"):
        counted = guest.answer["device-violations"]
        assert counted == guest.traces.violations > 0, \
            f"{counted} counted, {guest.traces.violations} traced"
    with report.test("device: cmma-check=fatal ends QEMU, which names device and address"):
        guest = BareMetal("fatal")
        assert guest.status == 1, f"status {guest.status}: {guest.said}"
        [block] = [page for what, _, page, _ in guest.expected if what == "write"]
        assert re.search(rf"virtio-rng-ccw rng0: write to address 0x{block >> 12:x}\w\w\w "
                         r"in a block that is unused \(state 0x04\)", guest.said), guest.said
    with report.test("device: cmma-check=off sees nothing"):
        guest = BareMetal("off")
        assert guest.expected and not guest.traces.seen, f"{guest.traces.seen}"
        assert guest.answer["device-violations"] == 0, f"{guest.answer}"


@contextlib.contextmanager
def clean_guest(name, policy, disk, options=()):
    """A guest that does nothing wrong with its disk: every finding is a false one."""
    traces = Traces(os.path.join(place.LOGS, f"device-{name}.trace"))
    with Guest(place.QEMU, place.KERNEL, place.INITRD, drive=place.IMAGE,
               append="page_hva=on", log=os.path.join(place.LOGS, f"device-{name}.log"),
               options=["-global", f"s390-cmma.policy={policy}",
                        *traces.options("count"), *options]) as guest:
        yield guest
        answer = guest.qmp.command("x-query-s390-cmma")
    traces.read()
    assert answer["discards"], "nothing was discarded: the test shows nothing"
    assert any(device == f"virtio-blk-ccw {disk}" for _, device, _, _ in traces.seen), \
        "the disk wrote to no zero block: the test shows nothing"
    wrong = {entry for entry in traces.seen if entry[0] != "resident"}
    assert answer["device-violations"] == 0 and not wrong, f"{answer} {wrong}"


def another_disk(properties):
    return ["-drive", f"file={place.IMAGE},if=none,id=two,format=raw,snapshot=on",
            "-object", "iothread,id=io",
            "-device", f"virtio-blk-ccw,id=two,drive=two,serial=two,{properties}"]


def clean(report):
    with report.test("device: Linux discarded on command: no violation, right data"):
        with clean_guest("none", "none", "fe.0.0001") as guest:
            guest.run(TREE)
            free.wait_for_share(guest)
            for what in ("volatile", "unused"):
                answer = guest.qmp.command("x-s390-cmma-discard", what=what)
                assert answer["discarded"], f"nothing {what} to discard"
            guest.run(TREE)
            guest.run(COPY)
    for name, options in (
            ("all discarded", []),
            ("a short queue in an I/O thread",
             another_disk("iothread=io,num-queues=2,queue-size=32")),
            ("a packed ring without indirect descriptors",
             another_disk("packed=on,indirect_desc=off"))):
        with report.test(f"device: Linux, {name}: no violation, right data"):
            with clean_guest(name.replace(" ", "-").replace("/", ""), "always",
                             "two" if options else "fe.0.0001", options) as guest:
                if options:
                    guest.run("umount /mnt && mount -t ext4 "
                              "/dev/$(basename $(dirname $(grep -l two "
                              "/sys/block/vd*/serial))) /mnt")
                else:
                    guest.run(TREE)
                guest.run(COPY)


def device(report):
    planted(report)
    clean(report)
