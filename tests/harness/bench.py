"""What benches share: what the host sees of a guest, and results as JSON."""

import ctypes
import json
import os
import platform
import re
import statistics
import subprocess
import tempfile
import time

from . import cost, place

PAGE, MIB = 4096, 1 << 20


def without_huge_pages():
    """For this process and what it starts, as they make resident memory come in lumps."""
    ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)     # PR_SET_THP_DISABLE


def ram_block(guest):
    """(address in QEMU, size) of the guest's memory."""
    text = guest.qmp.command("x-query-ramblock")["human-readable-text"]
    words = next(line for line in text.splitlines() if "s390.ram" in line).split()
    _, _, size, first = (int(word, 16) for word in words if word.startswith("0x"))
    return first, size


def ram(guest):
    """(resident, swapped out) bytes of the guest's memory, without the rest of QEMU."""
    first, size = ram_block(guest)
    total, inside = {"Rss": 0, "Swap": 0}, False
    with open(f"/proc/{guest.process.pid}/smaps", encoding="ascii") as file:
        for line in file:
            if found := re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line):
                inside = first <= int(found[1], 16) < first + size
            elif inside and (name := line.partition(":")[0]) in total:
                total[name] += int(line.split()[1]) << 10
    return total["Rss"], total["Swap"]


def transferred(guest):
    """Bytes that QEMU's threads read from and wrote to the host's disk."""
    with open(f"/proc/{guest.process.pid}/io", encoding="ascii") as file:
        values = dict(line.split(": ") for line in file)
    return int(values["read_bytes"]) + int(values["write_bytes"])


def cpu_time(pid):
    """Nanoseconds that all threads of a process ran so far, those that ended as well."""
    return time.clock_gettime_ns((~pid << 3) | 2)       # clock_getcpuclockid()


def main_thread_time(pid):
    """Nanoseconds that QEMU's main thread, which obeys the monitor, ran so far."""
    with open(f"/proc/{pid}/task/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


def vmstat(*names):
    """Sums of counters of the host's kernel."""
    with open("/proc/vmstat", encoding="ascii") as file:
        values = dict(line.split() for line in file)
    return sum(int(values[name]) for name in names)


def large_files(count, each):
    """An ext4 image with so many files of so many MiB."""
    path = os.path.join(place.BUILD, f"bench-files-{count}-{each}.img")
    if not os.path.exists(path):
        with tempfile.TemporaryDirectory(dir=place.BUILD) as tmp:
            for number in range(count):
                with open(os.path.join(tmp, str(number)), "wb") as file:
                    file.write(os.urandom(each * MIB))
            subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", *cost.FIXED, "-d", tmp,
                            path + ".new", f"{count * each * 5 // 4}M"], check=True)
        os.rename(path + ".new", path)
    return path


class Figure:
    """What some runs gave: the median, and how far they are apart."""

    def __init__(self, values):
        self.values = list(values)
        self.median = statistics.median(self.values)

    def spread(self):
        """The largest less the smallest, as a share of the median."""
        width = max(self.values) - min(self.values)
        return width / abs(self.median) if self.median else float(width > 0)

    def text(self, form="{:.1f}"):
        return form.format(self.median) + (f" ±{self.spread() / 2:.0%}"
                                           if len(self.values) > 1 else "")

    def json(self):
        return {"median": self.median, "spread": self.spread(), "runs": self.values}


def plain(value):
    """Figures become what JSON can say."""
    return value.json()


def save(name, figures, **about):
    """build/results/bench-NAME.json: the figures, and what they were measured on."""
    path = place.result(f"bench-{name}.json")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    about |= {"host CPUs": os.cpu_count(), "host kernel": platform.release().split("-")[0],
              "load before": os.getloadavg()[0]}
    with open(path, "w", encoding="ascii") as file:
        json.dump({"bench": name, "measured on": about, "figures": figures}, file,
                  indent=1, default=plain)
        file.write("\n")
    print(f"{os.path.relpath(path)} has all figures")
