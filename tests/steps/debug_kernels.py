"""The stress on kernels that check themselves: locks, memory, data races."""

import os
import re

from harness import place
from harness.guest import GuestError
from steps import stress

SEED = 1
SECONDS = 10
# What is done to a page that is freed: page_poison also checks, when it is allocated, that
# nobody wrote to it.  The kernel does one of them only.
POISON, ZERO = "page_poison=on", "init_on_free=1"
# What a kernel must have, or its silence says nothing.
NEEDS = {
    "debug": ["PROVE_LOCKING", "DEBUG_ATOMIC_SLEEP", "DEBUG_VM", "DEBUG_VM_PGFLAGS",
              "DEBUG_LIST", "PAGE_POISONING"],
    "kasan": ["KASAN_GENERIC", "KASAN_VMALLOC"],
    "kcsan": ["KCSAN", "KCSAN_REPORT_VALUE_CHANGE_ONLY"],
    "kcsan-ours": ["KCSAN", "KCSAN_REPORT_RACE_UNKNOWN_ORIGIN"],
}
# mm has data races of its own that are known: a report counts if a function or a file of
# ours is in it.  The others are counted and shown.
RACE = re.compile(r"BUG: KCSAN: (\S+) in (.*)")
OURS = re.compile(r"page_hva|discard_fault|\b(?:make_volatile|drop_locked|swap_remove|reuse|"
                  r"release_private|private_unused|kept_by_mapping|(?:page_)?in_use|"
                  r"volatile_block|late_(?:pass|block|again|queue)|set_batch_unused|"
                  r"unused_block|isolate_gone|count_page)\+0x")
KCSAN = "/sys/kernel/debug/kcsan"
END = "=================================================================="


def configured(guest, kernel):
    config = guest.run("zcat /proc/config.gz")
    lost = [name for name in NEEDS[kernel] if f"\nCONFIG_{name}=y\n" not in config]
    if lost:
        raise GuestError(f"the kernel {kernel} has no {', '.join(lost)}")
    if "kcsan" in kernel:
        guest.run(f"echo on >{KCSAN}")


def watched(guest, kernel):
    """KCSAN says nothing when it is off, or if it never looks."""
    if "kcsan" in kernel:
        text = guest.run(f"cat {KCSAN}")
        looks = int(re.search(r"setup_watchpoints: (\d+)", text)[1])
        print(f"#   KCSAN watched {looks} accesses", flush=True)
        assert "enabled: 1" in text and looks > 1000, text


def races(text):
    """The reports in a console log: those with a frame of ours, and the others."""
    ours, others = [], []
    for part in text.split(END):
        found = RACE.search(part)
        if found:
            (ours if OURS.search(part) else others).append(found[2].strip())
    return ours, others


def one(kernel, policy, pressure):
    words = POISON if kernel == "debug" and not pressure else ZERO
    name = f"debug-{kernel}-{policy}-{'pressure' if pressure else 'calm'}"
    stress.one(policy, 2, pressure, SEED, seconds=SECONDS, kernel=place.kernel(kernel),
               append=f"{words} kunit.enable=0", name=name, more="--hang 100",
               check=lambda guest: configured(guest, kernel),
               done=lambda guest: watched(guest, kernel),
               # Debugging must not touch a page that is unused, either.
               properties=("strict-unused=all",),
               allow=RACE.pattern if "kcsan" in kernel else None,
               memory="640M" if pressure else None)
    if "kcsan" not in kernel:
        return
    with open(os.path.join(place.LOGS, f"{name}.log"), encoding="utf-8",
              errors="replace") as log:
        ours, others = races(log.read())
    print(f"#   {name}: {len(others)} reports of data races elsewhere: "
          f"{', '.join(sorted(set(others)))[:300]}", flush=True)
    assert not ours, f"{len(ours)} data races of ours: {'; '.join(sorted(set(ours)))[:400]}"


def matrix(report, kernels=tuple(NEEDS), policies=tuple(stress.POLICIES)):
    for kernel in kernels:
        for policy in policies:
            for pressure in (False, True):
                with report.test(f"debug kernels: {kernel}, policy {policy}, "
                                 f"{'with' if pressure else 'without'} memory pressure"):
                    one(kernel, policy, pressure)
