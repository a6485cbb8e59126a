"""The newest kernel: the same series, with what it has otherwise, is built and does the same.

It is built in a directory of its own, so the tests of it are in a process of their own.
"""

import os
import sys

from harness import place
from . import build, configurations, stress

SERIES = "7.2"
BUILDS = [
    (f"linux {SERIES}, patched", ["scripts/compose", "linux"]),
    (f"kernel {SERIES} with KUnit", ["scripts/kernel", "newest", "base", "hva", "kunit"]),
    (f"initramfs of {SERIES}", ["make", "initramfs"]),
    (f"disk image of {SERIES}", ["scripts/image"]),
]


def newest(report):
    if os.environ.get("LINUX_SERIES") == SERIES:
        here(report)
    else:
        report.tap("", ["env", f"LINUX_SERIES={SERIES}", sys.executable,
                        os.path.join(place.ROOT, "tests/check-newest")])


def here(report):
    build.some(report, BUILDS)
    kernel = place.kernel("newest")
    for policy in ("none", "always", "random"):
        with report.test(f"newest: linux {SERIES}, stress, policy {policy}"):
            stress.one(policy, 2, False, 1, name=f"newest-{policy}", kernel=kernel,
                       append="kunit.enable=0", hurry=True)
    configurations.kunit(report, "newest", "page_hva=on")
