"""Everything that the other steps need is built first."""

import os
import subprocess

from harness import place
from harness.report import Broken

BUILDS = [
    ("sources and tools", ["make", "fetch"]),
    ("QEMU", ["make", "qemu"]),
    ("kernel", ["make", "linux"]),
    ("initramfs and disk image", ["make", "image"]),
    ("kernel with all debugging and KUnit",
     ["scripts/kernel", "debug", "base", "hva", "debug", "kunit", "z10"]),
    ("selftests", ["scripts/kselftest"]),
    ("kernel without CONFIG_PAGE_HVA", ["scripts/kernel", "off", "base", "off"]),
    ("disks with file systems", ["scripts/fs-images"]),
]

# For the tests of other file systems.
MORE_FILE_SYSTEMS = [
    ("kernel with more file systems", ["scripts/kernel", "fs", "base", "hva", "fs"]),
]

# What the selftests need that the other tests do not, and hooks that can be switched off.
SELFTESTS = [
    ("kernel for the selftests", ["scripts/kernel", "kselftest", "base", "hva", "fs",
                                  "kselftest"]),
]

# Kernels that check themselves, beside the one that is built for all tests.
DEBUG_KERNELS = [
    ("kernel with KASAN", ["scripts/kernel", "kasan", "base", "hva", "kasan"]),
    ("kernel with KCSAN", ["scripts/kernel", "kcsan", "base", "hva", "kcsan"]),
    ("kernel with KCSAN for what is ours", ["scripts/kernel", "kcsan-ours", "base", "hva",
                                            "kcsan", "kcsan-ours"]),
]


def everything(report, *more):
    some(report, [*BUILDS, *more])


def some(report, builds):
    for name, command in builds:
        result = subprocess.run(command, cwd=place.ROOT, check=False,
                                stdin=subprocess.DEVNULL)
        if result.returncode:
            raise Broken(f"{' '.join(command)} failed (logs: "
                         f"{os.path.relpath(place.LOGS)})")
        report.passed(f"build: {name}")
