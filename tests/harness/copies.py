"""A guest that is saved, and copies of it that go on from there."""

import array
import os
import shutil
import socket
import tempfile
import time

from . import bench
from .bench import PAGE
from .guest import PATIENCE, Guest, GuestError

TIMEOUT = 300


def pages(guest):
    """Pages of the guest's memory that have a frame or were swapped out, by their numbers."""
    first, size = bench.ram_block(guest)
    entries = array.array("Q")
    with open(f"/proc/{guest.process.pid}/pagemap", "rb", buffering=0) as file:
        file.seek(first // PAGE * entries.itemsize)
        entries.frombytes(file.read(size // PAGE * entries.itemsize))
    # Only a page of its own is mapped exclusively (bit 56), and not the page of zeros that all
    # share; bit 62 is that it was swapped out.
    return {number for number, entry in enumerate(entries) if entry & (1 << 56 | 1 << 62)}


def migrated(guest):
    """Wait until a migration is done."""
    deadline = time.monotonic() + TIMEOUT * PATIENCE
    while (said := guest.qmp.command("query-migrate")).get("status") != "completed":
        if said.get("status") == "failed" or time.monotonic() > deadline:
            raise GuestError(f"the guest can not be migrated: {said}")
        time.sleep(0.05)


class Saved:
    """The state of a guest, which is stopped for good, in a file that has no name."""

    def __init__(self, guest, directory):
        guest.qmp.command("stop")
        self.resident = pages(guest)
        self.file = tempfile.TemporaryFile(dir=directory)
        path = os.path.join(guest.tmp, "saved")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()
            listening.settimeout(TIMEOUT * PATIENCE)
            guest.qmp.command("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
            guest.qmp.command("migrate", uri=f"unix:{path}")
            connection, _ = listening.accept()
        with connection, connection.makefile("rb") as stream:
            shutil.copyfileobj(stream, self.file, 1 << 20)
        migrated(guest)
        self.size = self.file.tell()

    def close(self):
        self.file.close()


class Copy(Guest):
    """A guest that goes on where another one was saved; otherwise it has to be the same.

    We read the file and not QEMU, whose memory the cached file would otherwise count as.
    Pages of zeros are not saved.  Those that had a frame get one again, as a copy would
    otherwise be smaller than its original.
    """

    def __init__(self, saved, *arguments, options=(), **settings):
        super().__init__(*arguments, options=[*options, "-incoming", "defer"], **settings)
        self.saved = saved

    def wait_for_boot(self, timeout):
        path = os.path.join(self.tmp, "saved")
        self.qmp.command("migrate-incoming", uri=f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            self.saved.file.seek(0)
            connection.sendfile(self.saved.file)
        migrated(self)
        self.add_zeros()
        self.qmp.command("cont")

    def add_zeros(self):
        first, _ = bench.ram_block(self)
        memory = os.open(f"/proc/{self.process.pid}/mem", os.O_RDWR)
        try:
            for number in self.saved.resident - pages(self):
                at = first + number * PAGE
                os.pwrite(memory, os.pread(memory, 1, at), at)
        finally:
            os.close(memory)
