"""Memory that is short for real: a limit, and swap."""

import contextlib
import os
import subprocess

from . import place

GROUP, GROUP2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"       # of version 1 and 2
BLOCKS = "/sys/fs/cgroup/blkio"


class Skip(Exception):
    """This way can not be gone here; the text says why."""


class Memory:
    """A memory cgroup, v1 or v2."""

    def __init__(self, path, two):
        self.path, self.two = path, two

    def write(self, name, value):
        with open(os.path.join(self.path, name), "w", encoding="ascii") as file:
            file.write(str(value))

    def text(self, name):
        with open(os.path.join(self.path, name), encoding="ascii") as file:
            return file.read().strip()

    def table(self, name):
        return {key: int(value) for key, value in
                (line.split() for line in self.text(name).splitlines())}

    def limit(self):
        """Bytes; so many that nobody has them if there is none."""
        text = self.text("memory.max" if self.two else "memory.limit_in_bytes")
        return 1 << 60 if text == "max" else int(text)

    def set_limit(self, limit):
        """In bytes, or None."""
        if self.two:
            self.write("memory.max", "max" if limit is None else limit)
        else:
            self.write("memory.limit_in_bytes", -1 if limit is None else limit)

    def usage(self):
        return int(self.text("memory.current" if self.two else "memory.usage_in_bytes"))

    def used(self):
        """Bytes, without the page cache that goes first: QEMU's own file can be in it."""
        stat = self.table("memory.stat")
        return self.usage() - stat.get("total_inactive_file", stat["inactive_file"])

    def met(self):
        """How often the limit was met."""
        if self.two:
            return self.table("memory.events")["max"]
        return int(self.text("memory.failcnt"))

    def stat(self):
        """memory.stat: {name: bytes or events}, and by one name what the versions call otherwise."""
        stat = self.table("memory.stat")
        if self.two:
            return {**stat, "cache": stat["file"], "swap": int(self.text("memory.swap.current"))}
        return {**stat, "kernel": int(self.text("memory.kmem.usage_in_bytes"))}

    def run_there(self):
        """Words to put before a command, which then belongs to the group."""
        return ["sh", "-c", f'echo $$ >{self.path}/cgroup.procs && exec "$@"', "sh"]

    def __enter__(self):
        os.mkdir(self.path)
        return self

    def __exit__(self, *_):
        os.rmdir(self.path)


class Group(Memory):
    """One for QEMUs, and a swap file of mib MiB for what does not fit."""

    def __init__(self, name, mib):
        two = os.path.exists(f"{GROUP2}/cgroup.controllers")
        home = GROUP2 if two else GROUP
        super().__init__(f"{home}/{name}.{os.getpid()}", two)
        self.mib = mib
        self.file = os.path.join(place.BUILD, f"{name}.{os.getpid()}.swap")
        # A container may see them and not be able to make one, or not for memory.
        parent = Memory(home, two)
        if os.geteuid() or not os.access(home, os.W_OK) or \
                two and "memory" not in parent.text("cgroup.subtree_control").split():
            raise Skip("needs root and memory cgroups that it can make")

    def below(self, name):
        """Another in this one."""
        if self.two:
            self.write("cgroup.subtree_control", "+memory")
        return Memory(os.path.join(self.path, name), self.two)

    def __enter__(self):
        try:
            subprocess.run(["dd", "if=/dev/zero", f"of={self.file}", "bs=1M",
                            f"count={self.mib}", "status=none"], check=True)
            os.chmod(self.file, 0o600)
            subprocess.run(["mkswap", self.file], check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["swapon", self.file], check=True)
            os.mkdir(self.path)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if os.path.exists(self.path):
            os.rmdir(self.path)
        subprocess.run(["swapoff", self.file], check=False, stderr=subprocess.DEVNULL)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.file)


class Disk:
    """A blkio cgroup (v1) for QEMUs: together they read so often in a second from build's disk.

    Also from a swap file there.  What they write to that counts for nobody, and is not limited.
    """

    def __init__(self, name, reads):
        self.reads = reads
        self.path = f"{BLOCKS}/{name}.{os.getpid()}"
        if os.geteuid() or not os.path.exists(f"{BLOCKS}/blkio.throttle.read_iops_device"):
            raise Skip("needs root and blkio cgroups of version 1")

    def run_there(self):
        """As that of Group."""
        return ["sh", "-c", f'echo $$ >{self.path}/cgroup.procs && exec "$@"', "sh"]

    def __enter__(self):
        number = os.stat(place.BUILD).st_dev
        device = os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
        if not os.path.exists(device):
            raise Skip(f"the file system of {place.BUILD} is on no block device")
        if os.path.exists(os.path.join(device, "partition")):
            device = os.path.dirname(device)
        with open(os.path.join(device, "dev"), encoding="ascii") as file:
            disk = file.read().strip()
        os.mkdir(self.path)
        try:
            with open(f"{self.path}/blkio.throttle.read_iops_device", "w",
                      encoding="ascii") as file:
                file.write(f"{disk} {self.reads}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        os.rmdir(self.path)
