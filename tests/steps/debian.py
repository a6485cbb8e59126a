"""Programs of a Debian guest, with a host that takes pages, compared with a plain boot."""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple

from harness import bench, place
from harness.console import FAILURES, HARMLESS
from harness.guest import PATIENCE, Guest, GuestError
from harness.qmp import QmpError
from harness.report import Broken
from harness.worse import worse
from steps.stress import properties_of

SCRIPTS = os.path.join(place.ROOT, "tests/programs")
IMAGE = place.out("rootfs-programs.img")
KERNEL = place.kernel("distro")
DISK = 3 << 30          # the second disk, for file systems that programs make
PLAIN = "plain"
POLICIES = ["always", "random", "pressure"]
BUILDS = [
    ("sources and tools", ["make", "fetch"]),
    ("QEMU", ["make", "qemu"]),
    ("linux", ["scripts/compose", "linux"]),
    ("initramfs", ["make", "initramfs"]),
    ("what makes the Debian", ["scripts/install", "rootfs"]),
    ("Debian with these programs", ["scripts/rootfs", "programs"]),
    ("kernel for a distribution", ["scripts/kernel", "distro", "base", "hva", "distro"]),
]
# In this order, and so many seconds at most.
PROGRAMS = {"sqlite": 600, "git": 900, "gcc": 900, "archives": 900, "rsync": 600, "nginx": 600,
            "postgres": 900, "fio": 900, "overlay": 600, "nfs": 600, "stress-ng": 1800}
# No byte of theirs can be spoilt.
NO_CONTROL = {"stress-ng": "it has no data of ours"}
MIB = 1 << 20
# What the kernel says on a busy machine, and of stressors that map all they get, whoever is its
# host.
BUSY = re.compile("hrtimer: interrupt took|perf: interrupt took|clocksource|hogged CPU|"
                  "__vm_enough_memory")
# After each program of one plain boot 5204 to 9960 KiB more were free than when it had booted;
# with the policy always it was 3424 KiB less once, after archives.
KIB_LEAKED = 16 << 10
COMPLAINS = "the kernel complains of nothing"
SURVIVES = "the guest goes on"


class Setup(NamedTuple):
    append: str
    policy: str


SETUPS = {PLAIN: Setup("page_hva=off", "none"),
          **{policy: Setup("page_hva=on", policy) for policy in POLICIES}}


class Short(threading.Thread):
    """Files like those of a memory cgroup of version 1, by which memory is always short.

    Less is left than pressure-low, at times nothing; the rest is used by the guest alone, so
    that it is the one to give.
    """

    LOW, HIGH = 32, 64          # MiB, as s390-cmma.pressure-low and -high are

    def __init__(self, directory):
        super().__init__(daemon=True)
        self.directory = directory
        self.end = threading.Event()
        self.write(0)

    def write(self, left):
        for name, text in (("limit_in_bytes", 512 * MIB), ("stat", "total_inactive_file 0"),
                           ("usage_in_bytes", 512 * MIB - left)):
            path = os.path.join(self.directory, f"memory.{name}")
            with open(path + ".new", "w", encoding="ascii") as file:
                file.write(f"{text}\n")
            os.rename(path + ".new", path)

    def run(self):
        chance = random.Random(1)
        while not self.end.wait(0.2):
            self.write(chance.randrange(self.LOW * MIB))

    def stop(self):
        self.end.set()
        self.join()


class Machine:
    """A Debian guest that is started again when a program has spoilt it."""

    def __init__(self, name, memory, log):
        self.name, self.memory = name, memory
        self.setup = SETUPS[name]
        self.log = os.path.join(place.LOGS, f"programs-{log}.log")
        self.guest = self.short = None
        self.seen = 0
        self.boots = 0
        self.at_boot = None

    def options(self, tmp):
        """QEMU's words for the policy and the other disks, which are files in tmp."""
        policy = self.setup.policy
        for setting in properties_of(policy, 1, ()):
            yield from ("-global", f"s390-cmma.{setting}")
        if policy == "pressure":
            directory = os.path.join(tmp, "cgroup")
            os.mkdir(directory)
            self.short = Short(directory)
            yield from ("-global", f"s390-cmma.pressure-cgroup={directory}")
        # What a device does with pages that are not there is seen, too.
        yield from ("-global", "virtio-ccw-device.cmma-check=count")
        with open(os.path.join(tmp, "disk"), "wb") as file:
            file.truncate(DISK)
        scripts = os.path.join(tmp, "scripts.tar")
        subprocess.run(["tar", "-C", SCRIPTS, "-cf", scripts, "."], check=True)
        for name, more in (("disk", ",cache=unsafe"), ("scripts.tar", ",read-only=on")):
            yield from ("-drive", f"file={tmp}/{name},if=none,id=more-{name},format=raw{more}")

    def plug(self):
        """Plug the other disks in: the kernel names disks as it finds them, in no order."""
        for name, device in (("disk", "vdb"), ("scripts.tar", "vdc")):
            self.guest.qmp.command("device_add", driver="virtio-blk-ccw", drive=f"more-{name}")
            self.guest.run(f"until [ -b /dev/{device} ]; do sleep 0.1; done")

    def start(self):
        self.stop()
        # What the kernel complains of belongs to the program that runs: see complaints().
        guest = Guest(place.QEMU, KERNEL, None, drive=IMAGE, memory=self.memory,
                      append=f"root=/dev/vda rw rootfstype=ext4 {self.setup.append}",
                      allow=".", boot_timeout=900, log=self.log)
        began = time.monotonic()
        try:
            guest.command_line += self.options(guest.tmp)
            guest.start()
        except BaseException:
            guest.stop()
            raise
        self.guest = guest
        self.boots += 1
        if self.short:
            self.short.start()
        said = guest.run("dmesg | grep -c 'page_hva: enabled' || :").strip()
        if (said != "0") != (self.name != PLAIN):
            raise Broken(f"{self.name}: page_hva is on where it should be off, or off: "
                         f"see {self.log}")
        if self.name != PLAIN:
            guest.hurry()
        self.plug()
        guest.run("mkdir -p /opt/programs && tar -xf /dev/vdc -C /opt/programs && "
                  "chown -R root: /opt/programs")
        self.seen = 0
        self.complaints()
        self.at_boot = self.free()
        print(f"# {self.name}: booted in {time.monotonic() - began:.0f} s", flush=True)

    def stop(self):
        if self.guest:
            self.guest.stop()
        if self.short:
            self.short.stop()
        self.guest = self.short = None

    def complaints(self):
        """What the kernel complains of since the last call, without what is another each time."""
        text = self.guest.console.text()
        new, self.seen = text[self.seen:], len(text)
        bad = {line.strip() for line in new.splitlines()
               if FAILURES.search(line) and not HARMLESS.search(line)}
        warned = self.guest.run("dmesg --level=emerg,alert,crit,err,warn; dmesg --clear")
        return sorted({normal(line) for line in [*bad, *warned.splitlines()]
                       if line.strip() and not BUSY.search(line)})

    def free(self):
        """KiB of memory that is free when nothing is cached, but in files that have no disk."""
        self.guest.run("sync; ! cd /sys/kernel/debug/page_hva 2>/dev/null || echo 1 >settle; "
                       "echo 3 >/proc/sys/vm/drop_caches; sleep 1; "
                       "echo 3 >/proc/sys/vm/drop_caches", timeout=300)
        said = dict(re.findall(r"^(\w+): +(\d+) kB", self.guest.run("cat /proc/meminfo"),
                               re.MULTILINE))
        return int(said["MemFree"]) + int(said["Shmem"])

    def host(self):
        return self.guest.qmp.command("x-query-s390-cmma")

    def run(self, program, arguments, spoil, show):
        """What a program gave: {"states": ..., "values": ..., ...}."""
        if not self.guest:
            self.start()
        before, began = self.host(), time.monotonic()
        cpu = bench.cpu_time(self.guest.process.pid)
        output = []

        def on_line(line):
            output.append(line)
            show(line)

        try:
            self.guest.run(f"SPOIL={'1' * spoil} /opt/programs/{program} {arguments} "
                           "</dev/null 2>&1", timeout=PROGRAMS[program], check=False,
                           on_line=on_line)
            seconds = time.monotonic() - began
            cpu = (bench.cpu_time(self.guest.process.pid) - cpu) / 1e9
            complaints, units = self.complaints(), self.units()
            free = self.free()
            after = self.host()
        except (GuestError, QmpError, OSError) as error:
            output += [f"{error}", self.guest.console.text()[-4000:]]
            self.stop()
            return {"states": {**states_of(output), SURVIVES: "not ok"}, "values": {},
                    "complaints": [], "units": [], "output": output, "faults": 0,
                    "seconds": time.monotonic() - began}
        return {"states": states_of(output), "values": values_of(output),
                "complaints": complaints, "units": units, "output": output, "seconds": seconds,
                "cpu": cpu, "free": free - self.at_boot,
                **{name: after[name] - before[name] for name in (
                    "violations", "device-violations")},
                "faults": after["discard-faults"] - before["discard-faults"]}

    def units(self):
        """The services that failed."""
        return self.guest.run("systemctl --failed --no-legend --plain | cut -d ' ' -f 1").split()


def normal(line):
    line = re.sub(r"^\[ *\d+\.\d+\] ", "", line.strip())
    return re.sub(r"\b(0x)?[0-9a-f]*\d[0-9a-f]*\b", "N", line)


def states_of(output):
    states = {}
    for line in output:
        if match := re.match(r"(ok|not ok) (.*)", line):
            states[match[2]] = match[1]
        elif match := re.match(r"skip ([^:]+): (.*)", line):
            states[match[1]] = "skipped"
    return states


def values_of(output):
    return {key: value for key, value in
            (line[6:].partition("\t")[::2] for line in output if line.startswith("value "))}


def reasons(output):
    return dict(re.match(r"skip ([^:]+): (.*)", line).groups() for line in output
                if line.startswith("skip "))


def path(name):
    return os.path.join(place.BUILD, "results", f"programs-{name}.json")


def load(name):
    try:
        with open(path(name), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def save(name, results):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)


def progress(name, program):
    """Shows on a terminal what the program is at."""
    if not sys.stdout.isatty():
        return lambda line: None
    return lambda line: print(f"\r\x1b[K# {name}: {program}: {line[:60]}", end="\r", flush=True)


def counts(result):
    states = list(result["states"].values())
    words = [f"{states.count('ok') + len(result['values'])} results"]
    words += [f"{states.count(state)} {what}" for state, what in
              (("not ok", "failed"), ("skipped", "skipped")) if states.count(state)]
    return ", ".join(words)


def differences(plain, result):
    """What is other than in the plain boot, or not good."""
    spoilt = [f"{case}: {plain['states'][case]} with a plain boot, "
              f"{result['states'].get(case, 'not run')} here"
              for case in worse(plain["states"], result["states"])]
    spoilt += [f"{case}: {state} here, not there with a plain boot"
               for case, state in result["states"].items()
               if case not in plain["states"] and state == "not ok"]
    for case in {**plain["values"], **result["values"]}:
        was, now = (each["values"].get(case, "none") for each in (plain, result))
        if was != now:
            spoilt.append(f"{case}: '{was}' with a plain boot, '{now}' here")
    new = set(result["complaints"]) - set(plain["complaints"])
    spoilt += [f"the kernel says: {line}" for line in sorted(new)]
    spoilt += [f"service {unit} failed" for unit in result["units"]
               if unit not in plain["units"]]
    spoilt += [f"{result[kind]} {kind}" for kind in ("violations", "device-violations")
               if result.get(kind)]
    return spoilt


def judge_plain(report, program, result):
    """Alone: whether it can show something."""
    bad = [case for case, state in result["states"].items() if state == "not ok"]
    if not result["values"] and set(result["states"].values()) == {"skipped"}:
        report.skipped(f"{PLAIN}: {program}", "; ".join(reasons(result["output"]).values()))
    else:
        report.result(not bad, f"{PLAIN}: {program}: {counts(result)}", "\n".join(
            [*bad, *result["output"][-20 * bool(bad):]]))


def judge(report, name, program, plain, result):
    if set(plain["states"].values()) == {"skipped"} and not plain["values"]:
        report.skipped(f"{name}: {program}", "; ".join(reasons(plain["output"]).values()))
        return
    spoilt = differences(plain, result)
    if not result["faults"]:
        spoilt.append("it met no discarded page: this shows nothing")
    report.result(not spoilt, f"{name}: {program}: {counts(result)}, as with a plain boot; "
                  f"{result['faults']} discard faults", "\n".join(spoilt))


def judge_memory(report, name, machine, results):
    """Memory that is not free any more, though all is over; and services."""
    last = [result["free"] for result in results.values() if "free" in result]
    if machine.boots != 1 or not last or not machine.guest:
        report.skipped(f"{name}: memory is free again", "the guest was started more than once")
        return None
    print(f"# {name}: KiB more that are free after each program: " + ", ".join(
        f"{program} {result['free']}" for program, result in results.items()))
    return last[-1]


def judge_leak(report, name, before, free, comparable):
    """What is free after the last program, compared with the plain boot."""
    text = f"{name}: memory is free again"
    if not comparable or None in before:
        report.skipped(text, "the plain boot ran other programs")
        return
    lost = before[-1] - free
    report.result(lost < KIB_LEAKED, f"{text}: {lost} KiB less than with a plain boot, of "
                  f"{KIB_LEAKED} that may be", f"{-free} KiB less than when it booted")


def measure(report, name, wanted, memory, plain=None):
    """Run programs in one guest, and judge them."""
    results = {}
    os.makedirs(place.LOGS, exist_ok=True)
    machine = Machine(name, memory, name)
    with open(os.path.join(place.LOGS, f"programs-{name}.txt"), "w", encoding="utf-8") as log:
        try:
            for program, arguments in wanted.items():
                result = machine.run(program, arguments, False, progress(name, program))
                results[program] = result
                log.write(f"===== {program}\n" + "\n".join(
                    [*result["output"], *result["complaints"]]) + "\n")
                log.flush()
                save(name, results)
                if plain is None:
                    judge_plain(report, program, result)
                else:
                    judge(report, name, program, plain[program], result)
            free = judge_memory(report, name, machine, results)
            if plain is not None and free is not None:
                judge_leak(report, name, [result.get("free") for result in plain.values()], free,
                           list(plain) == list(results))
        finally:
            machine.stop()
    return results


def control(report, wanted, memory, plain):
    """A wrong byte is noticed by each program."""
    machine = Machine(PLAIN, memory, "control")
    try:
        for program, arguments in wanted.items():
            if program in NO_CONTROL or set(plain[program]["states"].values()) == {"skipped"}:
                report.skipped(f"control: {program}", NO_CONTROL.get(program, "it is skipped"))
                continue
            result = machine.run(program, arguments, True, progress("control", program))
            noticed = differences(plain[program], result)
            print("".join(f"#   {line[:150]}\n" for line in noticed[:4]), end="", flush=True)
            report.result(noticed and SURVIVES not in result["states"],
                          f"control: {program}: {len(noticed)} results notice a wrong byte",
                          "\n".join(result["output"][-20:]))
    finally:
        machine.stop()
