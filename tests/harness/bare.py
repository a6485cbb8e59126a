"""A guest without an operating system, in a mode that is no test: see tests/bare/bench.c."""

import os
import select
import subprocess
import tempfile

from . import bench, place
from .guest import GuestError, Started
from .qmp import Qmp

SOURCE = os.path.join(place.ROOT, "tests", "bare")
TIMEOUT = 600


def build():
    """The program, made if need be."""
    out = os.path.join(place.BUILD, "bare")
    subprocess.run(["make", "-s", "-C", SOURCE, "O=" + out], check=True,
                   stdout=subprocess.DEVNULL)
    return os.path.join(out, "bare.elf")


class Bare(Started):
    """The guest in a QEMU; before are words to put before its command."""

    def __init__(self, mode, memory, *, qemu=place.QEMU, image=None, options=(), before=()):
        self.tmp = tempfile.TemporaryDirectory(prefix="page_hva.")
        self.path = os.path.join(self.tmp.name, "qmp")
        self.command = [
            *before, qemu, "-nodefaults", "-display", "none", "-M", "s390-ccw-virtio",
            "-accel", "tcg,thread=multi", "-m", memory, "-kernel", image or build(),
            "-append", mode, "-chardev", "stdio,id=con,signal=off",
            "-device", "sclpconsole,chardev=con",
            "-qmp", f"unix:{self.path},server=on,wait=off", *options]
        self.process = self.qmp = None
        self.pending = b""

    def start(self):
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, preexec_fn=bench.without_huge_pages)
        self.qmp = Qmp(self.path, process=self.process)

    def line(self):
        """The next that the guest, or QEMU, says."""
        while b"\n" not in self.pending:
            if not select.select([self.process.stdout], [], [], TIMEOUT)[0]:
                raise GuestError(f"the guest says nothing for {TIMEOUT} s")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise GuestError(f"QEMU ended early: {self.pending.decode('latin-1')}")
            self.pending += data
        line, _, self.pending = self.pending.partition(b"\n")
        return line.decode("latin-1").strip()

    def round(self):
        """(kind, blocks) of the next round, whose blocks are volatile now; None at the end."""
        line = self.line()
        if line == "@@end":
            return None
        if not line.startswith("@@round "):
            raise GuestError(line)
        _, kind, blocks = line.split()
        return kind, int(blocks)

    def next(self):
        """Let the guest go on with the next round."""
        self.qmp.command("inject-nmi")

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
        if self.qmp:
            self.qmp.close()
        self.tmp.cleanup()
