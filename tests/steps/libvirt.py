"""A guest that libvirt manages, as docs/libvirt.xml has it, during discards."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import uuid

from harness import place
from harness.bench import PAGE
from harness.console import Console
from harness.guest import PATIENCE, Guest, GuestError, Started, connected
from harness.qmp import QmpError
from steps.migration import DISABLED, FREEZES, begin, finish, overlay, rest
from steps.stress import Discarder

DOMAIN = "page_hva"
XML = os.path.join(place.ROOT, "docs", "libvirt.xml")
DOCUMENT = os.path.join(place.ROOT, "docs", "libvirt.md")
NOBODY = 65534
VZ = 15                 # the state of a block that was discarded
# What a discard may be refused for while libvirt does something else with the guest.
REFUSED = re.compile(f"{FREEZES}|{DISABLED}|There's a migration process in progress|"
                     "domain is not running|from qemu monitor|was (stopped|started) by something else|"
                     "Timed out during operation: cannot acquire state change lock")
SECONDS = 12            # of stress, in which something happens
STRESS = f"stress --dir /mnt/write --seed 1 --hang 60 --seconds {SECONDS}"


def as_user():
    """libvirt has sessions for users only: root becomes nobody."""
    if os.geteuid():
        return []
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def give(path):
    if not os.geteuid():
        os.chown(path, NOBODY, NOBODY)


class Daemon(Started):
    """libvirtd for one user, with a directory of its own; it takes itself for a host alone."""

    def __init__(self, name):
        self.log = os.path.join(place.LOGS, f"libvirtd-{name}.log")
        # Its sockets have long names as it is.
        self.dir = tempfile.mkdtemp(prefix="hva.", dir="/tmp")
        self.process = None
        self.socket = os.path.join(self.dir, "libvirt", "libvirt-sock")
        self.uri = f"qemu+unix:///session?socket={self.socket}"
        self.environment = dict(
            os.environ, HOME=self.dir, XDG_RUNTIME_DIR=self.dir,
            **{f"XDG_{what}_HOME": self.dir for what in ("CONFIG", "CACHE", "DATA", "STATE")})

    def start(self):
        settings = os.path.join(self.dir, "libvirt")
        os.mkdir(settings)
        self.write("libvirtd.conf", f'host_uuid = "{uuid.uuid4()}"\n'
                   f'log_outputs = "3:stderr"\n')
        # Without virtlogd, which would be one more daemon.
        self.write("libvirt/qemu.conf", 'security_driver = "none"\nstdio_handler = "file"\n')
        give(settings)
        give(self.dir)
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*as_user(), "libvirtd", "--config", os.path.join(self.dir, "libvirtd.conf")],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        limit = time.monotonic() + 30 * PATIENCE
        while True:
            with contextlib.suppress(GuestError):
                self.virsh("list")
                return
            if self.process.poll() is not None or time.monotonic() > limit:
                raise GuestError(f"libvirtd does not start (log: {self.log})")
            time.sleep(0.2)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        give(path)

    def virsh(self, *words, timeout=120):
        """What virsh says; GuestError if it fails."""
        try:
            done = subprocess.run(["virsh", "-c", self.uri, "-q", *words], text=True,
                                  env=self.environment, timeout=timeout * PATIENCE,
                                  capture_output=True, stdin=subprocess.DEVNULL, check=False)
        except subprocess.TimeoutExpired as error:
            raise GuestError(f"virsh {words[0]}: no answer in {timeout} s") from error
        if done.returncode:
            raise GuestError(f"virsh {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def stop(self):
        # What it started lives on without it.
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(self.dir, "libvirt/qemu/run", f"{DOMAIN}.pid"),
                      encoding="ascii") as file:
                os.kill(int(file.read()), signal.SIGKILL)
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Monitor:
    """QEMU's machine protocol by way of libvirt."""

    def __init__(self, domain):
        self.domain = domain

    def command(self, name, **arguments):
        request = {"execute": name, "arguments": arguments}
        try:
            said = self.domain.virsh("qemu-monitor-command", DOMAIN, json.dumps(request))
        except GuestError as error:
            raise QmpError(f"{name}: {error}") from error
        answer = json.loads(said)
        if "error" in answer:
            raise QmpError(f"{name}: {answer['error']['desc']}")
        return answer["return"]

    def close(self):
        pass


class Domain(Guest):
    """The guest of docs/libvirt.xml on a disk; libvirt starts it, and QEMU is its child."""

    def __init__(self, daemon, disk):
        self.daemon, self.disk = daemon, disk
        super().__init__(place.QEMU, place.KERNEL, place.INITRD, log=self.at("console"))
        self.ctl_path = self.at("ctl")
        self.said_before = b""          # by the QEMU that it was in

    def at(self, name):
        return os.path.join(self.daemon.dir, name)

    def virsh(self, *words, **more):
        return self.daemon.virsh(*words, **more)

    def define(self):
        with open(XML, encoding="utf-8") as file:
            text = file.read()
        for name, value in (("out", os.path.dirname(place.QEMU)), ("disk", self.disk),
                            ("run", self.daemon.dir)):
            text = text.replace("{%s}" % name, value)
        self.daemon.write("domain.xml", text)
        self.virsh("define", "--validate", self.at("domain.xml"))

    def start(self):
        self.define()
        self.virsh("start", DOMAIN)
        self.connect()
        self.wait_for_boot(self.boot_timeout)

    def connect(self):
        """Its control port is a new socket whenever QEMU is a new one."""
        if self.ctl:
            self.ctl.close()
        self.ctl = connected(self.ctl_path, time.monotonic() + 30 * PATIENCE)
        self.qmp = Monitor(self)
        with open(self.at(f"libvirt/qemu/run/{DOMAIN}.pid"), encoding="ascii") as file:
            self.pid = int(file.read())

    def _check_alive(self, doing):
        state = self.state()
        if state not in ("running", "paused"):
            raise GuestError(f"the domain is '{state}' during '{doing}'")

    def state(self):
        return self.virsh("domstate", DOMAIN)


class Installed(Domain):
    """The same guest as virt-install makes it, by the command in docs/libvirt.md."""

    def start(self):
        with open(DOCUMENT, encoding="utf-8") as file:
            command = re.search(r"^virt-install (?:.*\\\n)*.*\n", file.read(), re.MULTILINE)[0]
        for name, value in (("out", os.path.dirname(place.QEMU)), ("run", self.daemon.dir),
                            ("PWD", place.ROOT)):
            command = command.replace(f"${name}", value)
        command = command.replace(f"{self.daemon.dir}/disk.qcow2", self.disk)
        words = shlex.split(command.replace("\\\n", " ").replace("qemu:///session",
                                                                self.daemon.uri))
        done = subprocess.run(words, text=True, env=self.daemon.environment, check=False,
                              timeout=120 * PATIENCE, capture_output=True)
        if done.returncode:
            raise GuestError(f"virt-install: {done.stdout}{done.stderr}")
        self.connect()
        self.wait_for_boot(self.boot_timeout)


class Storm(Discarder):
    """Discards all the time, whatever else libvirt does with the guest."""

    def __init__(self, domain):
        super().__init__(domain, ("volatile", "unused"), every=0.1)
        self.refusals = set()

    def refused(self, error):
        if not REFUSED.search(str(error)):
            raise error
        self.refusals.add(REFUSED.search(str(error)).group(0))


def facts(domain):
    """Discard faults, blocks that are discarded."""
    said = domain.qmp.command("x-query-s390-cmma")
    assert not said["violations"], f"violations: {said['violations']}"
    return said["discard-faults"], said["pages"]["vz"]


@contextlib.contextmanager
def under_stress(domain):
    """Stress and a storm of discards, in which the body does something with the guest."""
    before, _ = facts(domain)
    pid = domain.pid
    begin(domain, STRESS)
    with Storm(domain) as storm:
        time.sleep(2)
        yield storm
        finish(domain, domain.said_before)
    domain.said_before = b""
    assert not storm.error, f"discard: {storm.error}"
    faults, _ = facts(domain)
    if domain.pid == pid:       # a new QEMU counts from 0
        faults -= before
    assert storm.taken and faults, f"{storm.taken} taken, {faults} faults: it shows nothing"
    print(f"#   {storm.taken} taken, {faults} faults; refused meanwhile: "
          f"{', '.join(sorted(storm.refusals)) or 'never'}")


def starts(domain):
    said = domain.run("dmesg | grep page_hva:")
    assert "enabled" in said, said
    path = "/machine/s390-storage_attributes"
    for name, expected in (("policy", "pressure"), ("pressure-low", 256 << 20),
                           ("pressure-high", 384 << 20)):
        value = domain.qmp.command("qom-get", path=path, property=name)
        assert value == expected, f"{name} is {value}"
    said = domain.virsh("qemu-monitor-command", DOMAIN, "--hmp", "info cmma_stats")
    assert "pressure" in said, said


def is_suspended(domain):
    with under_stress(domain):
        for _ in range(5):
            domain.virsh("suspend", DOMAIN)
            assert domain.state() == "paused"
            time.sleep(0.3)
            domain.virsh("resume", DOMAIN)
            time.sleep(0.3)


def is_elf_core(path, memory, discarded=()):
    """Whether it is a core file of a whole s390x guest, where these blocks are zeros."""
    with open(path, "rb") as file:
        head = file.read(64)
        # 64 bit, big endian; a core file, of an S/390
        assert head[:6] == b"\x7fELF\x02\x02" and head[16:20] == b"\0\4\0\x16", head
        at, = struct.unpack(">Q", head[32:40])
        size, count = struct.unpack(">HH", head[54:58])
        file.seek(at)
        total = 0
        for _ in range(count):
            one = file.read(size)
            if one[:4] == b"\0\0\0\1":      # PT_LOAD
                where, _, _, length = struct.unpack(">QQQQ", one[8:40])
                total += length
        assert total == length == memory, f"{total} bytes of memory in the dump"
        for block in discarded:
            file.seek(where + block * PAGE)
            assert file.read(PAGE) == bytes(PAGE), f"block {block} has bytes"
        file.seek(0)
        assert b"Linux version " in file.read(), "the kernel is not in it"


def is_dumped(domain):
    path = domain.at("dump")
    with under_stress(domain):
        for words in (["--live"], ["--live", "--memory-only"], ["--memory-only"],
                      ["--memory-only", "--format", "kdump-zlib"]):
            domain.virsh("dump", DOMAIN, path, *words)
            if words[-1] == "--memory-only":
                is_elf_core(path, 512 << 20)
            assert os.path.getsize(path) > 16 << 20
            os.unlink(path)
    domain.run("cat /mnt/tree/mm/*.c >/dev/null")
    domain.settle()
    domain.virsh("suspend", DOMAIN)
    assert domain.qmp.command("x-s390-cmma-discard", what="volatile")["discarded"]
    gone = [run["first"] for run in domain.qmp.command("x-query-s390-cmma", map=True)["map"]
            if run["state"] & 15 == VZ]
    assert gone, "the map has no discarded block"
    domain.virsh("dump", DOMAIN, path, "--memory-only")
    domain.virsh("resume", DOMAIN)
    is_elf_core(path, 512 << 20, gone)
    os.unlink(path)


def is_refused(domain):
    """What libvirt does not do with such a guest; the messages are those of docs/libvirt.md."""
    with open(domain.at("domain.xml"), encoding="utf-8") as file:
        text = file.read().replace(f"<name>{DOMAIN}<", "<name>other<")
    for this, instead, why in (
            ("mode='maximum'", "mode='host-model'", "is not supported by hypervisor"),
            ("<vcpu>", "<memtune><hard_limit unit='MiB'>900</hard_limit></memtune><vcpu>",
             "Memory tuning is not available in session mode")):
        domain.daemon.write("other.xml", text.replace(this, instead))
        domain.virsh("define", domain.at("other.xml"))
        try:
            domain.virsh("start", "other")
        except GuestError as error:
            assert why in str(error), f"{error}"
        else:
            raise AssertionError(f"{instead} is let pass")
        finally:
            domain.virsh("undefine", "other")
    try:
        domain.virsh("setmem", DOMAIN, "300M")
    except GuestError as error:
        assert "without the balloon device" in str(error), f"{error}"
    else:
        raise AssertionError("setmem without a balloon does something")


def is_saved(domain):
    path = domain.at("saved")
    with under_stress(domain):
        for save, restore in ((["save", DOMAIN, path], ["restore", path]),
                              (["managedsave", DOMAIN], ["start", DOMAIN])):
            domain.virsh(*save)
            assert domain.state() == "shut off"
            domain.said_before = rest(domain)
            domain.virsh(*restore)
            domain.connect()
            time.sleep(1)
    os.unlink(path)


def has_snapshots(domain):
    with under_stress(domain):
        domain.virsh("snapshot-create-as", DOMAIN, "one")
        time.sleep(2)
        domain.virsh("snapshot-revert", DOMAIN, "one")
        domain.connect()
    domain.virsh("snapshot-delete", DOMAIN, "one")


def is_reset(domain):
    domain.run("cat /mnt/tree/mm/*.c >/dev/null")
    domain.settle()
    domain.qmp.command("x-s390-cmma-discard", what="volatile")
    _, zero = facts(domain)
    assert zero, "nothing was discarded"
    domain.virsh("reset", DOMAIN)
    domain.wait_for_boot(domain.boot_timeout)
    with under_stress(domain):
        pass


def moves(domain, other):
    """To the other daemon, which has another QEMU."""
    text = domain.virsh("dumpxml", "--migratable", DOMAIN)
    # On one host, the QEMU that ends would remove the socket of the other.
    other.write("domain.xml", text.replace(domain.daemon.dir, other.dir))
    with under_stress(domain):
        domain.virsh("migrate", "--live", "--persistent", "--unsafe", "--p2p", DOMAIN, other.uri,
                     "--xml", os.path.join(other.dir, "domain.xml"),
                     "--migrateuri", f"unix://{other.dir}/migration")
        assert domain.state() == "shut off"
        domain.said_before = rest(domain)
        domain.daemon = other
        domain.log, domain.ctl_path = domain.at("console"), domain.at("ctl")
        domain.console = Console(domain.log)
        domain.connect()


def is_destroyed(domain):
    domain.virsh("destroy", DOMAIN)
    assert not os.path.exists(f"/proc/{domain.pid}"), "QEMU is still there"
    domain.virsh("undefine", DOMAIN)
    assert not domain.virsh("list", "--all", "--name")


def everything(report):
    with contextlib.ExitStack() as stack:
        with report.test("libvirt: the domain is valid, and starts; its policy is pressure"):
            disk = stack.enter_context(overlay())
            give(os.path.dirname(disk))
            give(disk)
            one, two = (stack.enter_context(Daemon(name)) for name in ("one", "two"))
            domain = stack.enter_context(Domain(one, disk))
            starts(domain)
        if not report.good():
            return
        with report.test("libvirt: what it refuses, and why"):
            is_refused(domain)
        for what, function in (
                ("suspended and resumed", is_suspended), ("dumped", is_dumped),
                ("saved and restored", is_saved), ("taken back to a snapshot", has_snapshots),
                ("reset", is_reset), ("migrated", lambda domain: moves(domain, two))):
            with report.test(f"libvirt: a guest is {what} in a storm of discards"):
                function(domain)
        with report.test("libvirt: the guest is destroyed and undefined"):
            is_destroyed(domain)
        with report.test("libvirt: virt-install makes one, with a network and a directory of the "
                         "host"), Installed(two, disk) as installed:
            assert "enabled" in installed.run("dmesg | grep page_hva:")
            for command, expected in (("info network", "type=user"),
                                      ("info qtree", "virtio-9p-ccw")):
                said = installed.virsh("qemu-monitor-command", DOMAIN, "--hmp", command)
                assert expected in said, said
            is_destroyed(installed)
