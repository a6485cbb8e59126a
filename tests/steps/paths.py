"""What hot paths of the guest's kernel cost: a hook that grows is noticed.

make bench-cost compares with an unpatched kernel, which make check does not build.  Here are
the counts as they were measured, of one kernel and one compiler; a change that costs more on
purpose changes the table.
"""

import os
import re
from typing import NamedTuple

from harness import cost, place

# What was measured.  Another source or compiler: only ESSA is compared.
SOURCE, GCC = "archive linux_6.12.107.orig.tar.xz", "120200"
OFF, ON = "cmma=off page_hva=off", "page_hva=on"
# What a measurement may be above its number: instructions, in parts of it, and ESSA.
SLACK, ESSA_SLACK = 0.01, 0.02
PASSES, SCALE, SETTLE = 5, 0.5, 5


class Count(NamedTuple):
    """Per unit of the load: instructions if it is off and on, and ESSA if it is on."""
    off: float
    on: float
    essa: float


COUNTS = {
    "pread-4k": Count(942.6, 945.6, 0),
    "pread-1m": Count(220.8, 220.9, 0),
    "readv": Count(327.8, 327.9, 0),
    "fault": Count(905.0, 905.3, 0),
    "private-write": Count(3153.2, 3202.1, 0),
    "read-then-write": Count(3537.8, 3561.0, 0),
    "anonymous": Count(2818.7, 2821.1, 0),
    "splice": Count(483.2, 495.2, 0),
    "mlock": Count(1519.6, 1531.6, 0),
    "uncached": Count(3320.9, 3480.8, 1.94),
    "truncate": Count(1264.9, 1271.7, 0),
    "tmpfs": Count(3457.9, 3462.9, 0),
}


def comparable():
    """Is it the kernel whose instructions were counted for the table?"""
    with open(os.path.join(place.BUILD, "compose/linux/source"), encoding="utf-8") as file:
        source = file.read().strip()
    with open(os.path.join(place.BUILD, "kernel-main/.config"), encoding="utf-8") as file:
        gcc = re.search(r"^CONFIG_GCC_VERSION=(\d+)$", file.read(), re.MULTILINE)
    return source == SOURCE and gcc and gcc[1] == GCC


def seen(append, name):
    """{load: (instructions, ESSA)}"""
    results = cost.measure(place.KERNEL, append, list(COUNTS), PASSES, f"paths-{name}",
                           settle=SETTLE, scale=SCALE)
    # What timers and workers add to some of the passes does not matter.
    return {load: [sorted(values)[len(values) // 4] for values in zip(*passes)]
            for load, passes in results.items()}


def everything(report):
    off = on = None
    with report.test("paths: the loads run, page_hva=off"):
        off = seen(OFF, "off")
    with report.test("paths: the loads run, page_hva=on"):
        on = seen(ON, "on")
    if not off or not on:
        return
    same = comparable()
    for load, count in COUNTS.items():
        print(f'#   "{load}": Count({off[load][0]:.1f}, {on[load][0]:.1f}, '
              f"{on[load][1]:.3f}),", flush=True)
        with report.test(f"paths: ESSA of {load}"):
            assert not off[load][1], f"{off[load][1]} with {OFF}"
            essa = on[load][1]
            assert essa <= count.essa + ESSA_SLACK, f"{essa:.3f}; it was {count.essa}"
        for setup, now, before in (("off", off[load][0], count.off),
                                   ("on", on[load][0], count.on)):
            name = f"paths: instructions of {load}, page_hva={setup}"
            if same:
                report.result(now <= before * (1 + SLACK), name,
                              f"{now:.1f}; it was {before}")
            else:
                report.skipped(name, "they were counted with another kernel or compiler")
