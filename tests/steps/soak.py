"""What make soak repeats: other steps, with other seeds, and what is counted meanwhile."""

import json
import os
import re
import resource
import time

from harness import place
from harness.guest import Guest
from harness.qmp import QmpError
from steps import (debug_kernels, filesystems, free, fuzz, locking, progress, reclaim,
                   stress, swap)

SECONDS = 30            # of a guest, where it can be chosen
COUNTS = ["boots", "cpu_seconds", "operations", "discards", "faults"]


def one(title, function, /, *args, **more):
    """A job of one test."""
    def job(report, seed):
        with report.test(f"{title}, seed {seed}"):
            function(*args, seed=seed, **more)
    return job


def whole(function, **more):
    """A job that is a step with tests, and seeds, of its own."""
    return lambda report, seed: function(report, **more)


def on_file_system(kind):
    def job(report, seed):
        filesystems.filesystems(report, seconds=SECONDS // 3, only=[kind])
    return job


def stresses():
    for policy in stress.POLICIES:
        for cpus in (2, 4):
            for pressure in (False, True):
                name = f"stress {policy} {cpus} {'pressure' if pressure else 'calm'}"
                yield name, one(name, stress.one, policy, cpus, pressure, seconds=SECONDS)
    for name, policy, more in (
            ("evict", "none", {"takes": ("evict", "volatile")}),
            ("poison", "always", {"properties": ("poison=on",)}),
            ("strict", "always", {"properties": ("strict-unused=all",)})):
        yield f"stress {name}", one(f"stress {name}", stress.one, policy, 2, False,
                                    seconds=SECONDS, name=f"stress-{name}", **more)
    for policy in stress.POLICIES:
        name = f"stress debug {policy}"
        yield name, one(name, stress.one, policy, 2, False, seconds=SECONDS,
                        kernel=place.kernel("debug"), more="--hang 100",
                        append=f"{debug_kernels.POISON} kunit.enable=0",
                        name=f"stress-debug-{policy}")


def fuzzes():
    for setting in fuzz.SETTINGS:
        yield f"fuzz {setting}", one(f"fuzz {setting}", fuzz.explained, setting,
                                     seconds=SECONDS)


def swaps():
    for device in swap.DEVICES:
        for policy in stress.POLICIES:
            name = f"swap {device} {policy}"
            yield name, one(name, swap.one, device, policy, seconds=SECONDS)
    for policy in ("always", "random"):
        name = f"swap potential {policy}"
        yield name, one(name, swap.one, "virtio-blk", policy, seconds=SECONDS, on="on,p",
                        name=f"swap-p-{policy}")


def others():
    yield "reclaim", whole(reclaim.reclaim)
    yield "locking", whole(locking.everything)
    yield "free", whole(free.everything)
    yield "progress", whole(progress.everything)
    for device, kernel in (("virtio-blk", "debug"), ("zram", "main")):
        name = f"swap cases {device}"
        yield name, whole(swap.potential, device=device,
                          kernel=place.KERNEL if kernel == "main" else place.kernel(kernel))
    for kind in filesystems.KINDS:
        yield f"file system {kind}", on_file_system(kind)


def jobs():
    """All of them by name, kinds taking turns."""
    queues = [list(kind) for kind in (stresses(), fuzzes(), swaps(), others())]
    turns = max(len(queue) for queue in queues)
    return dict(job for turn in range(turns) for queue in queues
                for job in queue[turn:turn + 1])


class Observer:
    """Counts what the guests of this process do."""

    def __init__(self):
        self.count = dict.fromkeys(COUNTS, 0)

    def booted(self, _):
        self.count["boots"] += 1

    def said(self, _, text):
        self.count["operations"] += sum(int(number) for number in
                                        re.findall(r"^PASS .*\bops=(\d+)", text, re.MULTILINE))

    def ends(self, guest):
        if guest.process.poll() is None and guest.qmp:
            try:
                guest.qmp.sock.settimeout(5)
                answer = guest.qmp.command("x-query-s390-cmma")
                self.count["discards"] += answer["discards"]
                self.count["faults"] += answer["discard-faults"]
            except (QmpError, OSError, ValueError):
                pass            # it is broken, which is why it ends


def run(name, seed, logs, result, report):
    """One job, in a process of its own; counts go to the file result."""
    place.LOGS = logs
    os.makedirs(logs, exist_ok=True)
    Guest.observer = Observer()
    try:
        jobs()[name](report, seed)
    finally:
        # All guests have ended; little else was started.
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        Guest.observer.count["cpu_seconds"] = used.ru_utime + used.ru_stime
        with open(result, "w", encoding="ascii") as file:
            json.dump({**Guest.observer.count, **report.count}, file)


class Totals:
    """What all runs of make soak came to, in a file that each goes on with."""

    def __init__(self, path, kernel):
        self.path = path
        try:
            with open(path, encoding="utf-8") as file:
                self.all = json.load(file)
        except FileNotFoundError:
            self.all = {"runs": 0, "rounds": 0, "seconds": 0.0, "jobs": {}, "failures": []}
        self.kernel = kernel
        self.now = {"rounds": 0, **dict.fromkeys(COUNTS + ["passed", "failed"], 0)}
        self.all["runs"] += 1
        self.began = self.saved = time.monotonic()

    def add(self, name, seed, counts, failure=None):
        for key in self.now:
            if key in counts:
                self.now[key] += counts[key]
                self.all[key] = self.all.get(key, 0) + counts[key]
        job = self.all["jobs"].setdefault(name, {"times": 0, "failed": 0})
        job["times"] += 1
        if failure:
            job["failed"] += 1
            self.all["failures"].append({"job": name, "seed": seed, "kernel": self.kernel,
                                         "when": time.strftime("%F %T"), "logs": failure})
        self.save()

    def round(self):
        self.now["rounds"] += 1
        self.all["rounds"] += 1
        self.save()

    def save(self):
        now = time.monotonic()
        self.all["seconds"] += now - self.saved
        self.saved = now
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.all, file, indent=1)
        os.replace(self.path + ".new", self.path)


def words(counts, seconds):
    return (f"{seconds / 3600:.2f} h, {counts.get('rounds', 0)} rounds, "
            f"{counts.get('boots', 0)} boots, "
            f"{counts.get('cpu_seconds', 0) / 3600:.2f} CPU hours of guests, "
            f"{counts.get('operations', 0)} operations, {counts.get('discards', 0)} discards, "
            f"{counts.get('faults', 0)} discard faults, {counts.get('passed', 0)} tests passed, "
            f"{counts.get('failed', 0)} failed")
