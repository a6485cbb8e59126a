"""Every access gets done, however quick the host is, and nobody has to wait too long."""

import os
import re
import statistics

from harness import place
from harness.guest import Guest
from steps import stress

DEBUGFS = "/sys/kernel/debug/page_hva"
# The batches' references would help by luck.
KNOB = f"{DEBUGFS}/lru_cache_disable"
NO_BATCHES = f"echo 1 >{KNOB} && grep -qx 1 {KNOB}"
# s390 has no detector of soft lockups; RCU notices a CPU that does not schedule.
DETECTORS = ("echo 10 >/proc/sys/kernel/hung_task_timeout_secs && "
             "echo 5 >/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout")
# How often an instruction that needs eight pages is done: on the debug kernel, which can
# do without LRU batches but is slow, and on the other one.
TIMES, MORE_TIMES = 150, 500
FILE = "/mnt/write/big"
MEGABYTES = 32
# Requests for a file again after a discard, over those for it from a cold cache, and
# the same of the instructions; some of those are for other work of the guest.
REQUESTS, INSTRUCTIONS = 1.0, 1.02
ROUNDS = 9


def machine(name, policy, cpus=2, kernel="debug", icount=False):
    return Guest(place.QEMU, place.kernel(kernel) if kernel else place.KERNEL, place.INITRD,
                 drive=place.IMAGE, smp=cpus, icount=icount,
                 append="page_hva=on kunit.enable=0",
                 options=["-global", f"s390-cmma.policy={policy}"],
                 log=os.path.join(place.LOGS, f"progress-{name}.log"))


def instruction(cpus, times, kernel=None):
    """One instruction, pages of two files for program, target and operands."""
    with machine(f"instruction-{cpus}", "always", cpus, kernel) as guest:
        guest.run(f"{DETECTORS} && mkdir -p /mnt/write")
        if kernel:
            guest.run(NO_BATCHES)
        before = guest.qmp.command("x-query-s390-cmma")["discard-faults"]
        print("#  ", guest.run(f"progress several /mnt/write {times}", timeout=300).strip())
        faults = guest.qmp.command("x-query-s390-cmma")["discard-faults"] - before
        print(f"#   {faults} discard faults", flush=True)
        assert faults >= times // 2, f"{faults} discard faults: its pages were mostly there"
        # What was faulted in after a discard stays.  Without that it ends as well, by luck.
        assert faults <= 8 * times, f"{faults} discard faults for {times} times 8 pages"


def alone(kernel="debug", seconds=2):
    """One process on one vCPU: nobody else makes its pages stable, or keeps them."""
    stress.one("always", 1, False, 1, seconds=seconds, kernel=place.kernel(kernel),
               more="--procs 1", append="kunit.enable=0",
               prepare=f"{NO_BATCHES} && {DETECTORS}", name="progress-alone", hurry=False)


def storm(policy, kernel="debug", seconds=4):
    """The host takes all that it may three times a second; memory is short as well."""
    stress.one(policy, 2, True, 1, seconds=seconds, kernel=place.kernel(kernel),
               append="kunit.enable=0", takes=("volatile", "unused"),
               prepare=f"{NO_BATCHES} && {DETECTORS}", name=f"progress-storm-{policy}",
               hurry=False)


def requests(guest):
    """How many reads all disks have seen."""
    return sum(int(line.split()[0])
               for line in guest.run("cat /sys/block/vd*/stat").splitlines())


def read_file(guest, way, file):
    """Requests, and thousands of instructions if the guest has one CPU and icount."""
    before = requests(guest)
    busy = re.search(r"busy (\d+)", guest.run(f"progress {way} {file}", timeout=120))
    return requests(guest) - before, int(busy[1])


def again(guest, way, file, mib):
    """Reading what the host discarded over reading from a cold cache."""
    guest.run("sync && echo 3 >/proc/sys/vm/drop_caches")
    cold = read_file(guest, way, file)
    guest.settle()
    taken = guest.qmp.command("x-s390-cmma-discard", what="volatile")["discarded"]
    assert taken >= 0.99 * (mib << 8), f"the host found only {taken} pages"
    hot = read_file(guest, way, file)
    return hot[0] / cold[0], hot[1] / cold[1]


def make_file(guest, mib=MEGABYTES):
    guest.run(f"mkdir -p /mnt/write && dd if=/dev/urandom of={FILE} bs=1M count={mib} "
              "2>/dev/null", timeout=120)


def no_slower(guest, file, mib, ways=("read", "mmap")):
    """The same in each way, and the limits for it: the medians of some rounds."""
    for way in ways:
        rounds = zip(*(again(guest, way, file, mib) for _ in range(ROUNDS)))
        requests, instructions = map(sorted, rounds)
        for what, ratios, limit in (("requests", requests, REQUESTS),
                                    ("instructions", instructions, INSTRUCTIONS)):
            median = statistics.median(ratios)
            print(f"#   {way}: {median:.3f} times the {what}, from {ratios[0]:.3f} to "
                  f"{ratios[-1]:.3f}", flush=True)
            assert median <= limit, f"{way}: {median:.3f} times the {what}"


def reread():
    with machine("reread", "none", 1, None, icount=True) as guest:
        make_file(guest)
        no_slower(guest, FILE, MEGABYTES)


def quick(report):
    with report.test(f"progress: an instruction needs eight discarded pages, {MORE_TIMES} "
                     "times, 2 vCPUs"):
        instruction(2, MORE_TIMES)
    with report.test(f"progress: an instruction needs eight discarded pages, {TIMES} "
                     "times, 1 vCPU, no LRU batches"):
        instruction(1, TIMES, "debug")
    with report.test("progress: one process on one vCPU, no LRU batches, policy always"):
        alone()
    with report.test("progress: reading again after a full discard is no slower than a cold "
                     "read"):
        reread()


def everything(report):
    quick(report)
    with report.test("progress: the host takes all three times a second, memory is short, "
                     "no LRU batches; no task hangs, no CPU stalls"):
        storm("none")
