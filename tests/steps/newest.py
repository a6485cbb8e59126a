"""The newest kernel and the newest QEMU: the same series, with what they have otherwise.

Each is built in a directory of its own, so the tests of it are in a process of their own.
"""

import os
import sys

from harness import place
from . import build, configurations, programs, stress


def stresses(report, title, *policies, **more):
    for policy in policies:
        with report.test(f"newest: {title}, stress, policy {policy}"):
            stress.one(policy, 2, False, 1, name=f"newest-{policy}", hurry=True, **more)


def linux(report, series):
    build.some(report, [
        (f"linux {series}, patched", ["scripts/compose", "linux"]),
        (f"kernel {series} with KUnit", ["scripts/kernel", "newest", "base", "hva", "kunit"]),
        (f"initramfs of {series}", ["make", "initramfs"]),
        (f"disk image of {series}", ["scripts/image"]),
    ])
    stresses(report, f"linux {series}", "none", "always", "random",
             kernel=place.kernel("newest"), append="kunit.enable=0")
    configurations.kunit(report, "newest", "page_hva=on")


def qemu(report, series):
    build.some(report, [
        (f"QEMU {series}, patched", ["make", "qemu"]),
        (f"kernel for QEMU {series}", ["make", "linux"]),
        (f"initramfs and disk image for QEMU {series}", ["make", "image"]),
    ])
    programs.bare(report)
    programs.qtest(report)
    stresses(report, f"QEMU {series}", "none", "always", "random")


NEWEST = [("LINUX_SERIES", "7.2", linux), ("QEMU_SERIES", "10.2", qemu)]


def newest(report):
    for variable, series, here in NEWEST:
        if os.environ.get(variable) == series:
            here(report, series)
            return
    for variable, series, _ in NEWEST:
        report.tap("", ["env", f"{variable}={series}", sys.executable,
                        os.path.join(place.ROOT, "tests/check-newest")])
