"""The kernel's own selftests of memory and files, on an unpatched kernel and on ours."""

import json
import os
import re
from typing import NamedTuple

from harness import place
from harness.console import FAILURES, HARMLESS
from harness.guest import Guest, GuestError
from harness.worse import worse
from steps.stress import properties_of

IMAGE = place.out("selftests.img")
LOST = os.path.join(place.BUILD, "selftests/lost")
BASE = "unpatched"
COMPLAINS = "the kernel complains of nothing"     # a result that is there only if it does
# Set-up: kernel, command line, policy of the host.
SETUPS = {
    BASE: ("pristine-selftests", "", "none"),
    "off": ("selftests", "page_hva=off", "none"),
    "on": ("selftests", "page_hva=on", "none"),
    "on, always": ("selftests", "page_hva=on", "always"),
}
# What a host that takes all at once changes, and why it is right so: set-up, test, case.
RIGHT = {
    ("on, always", "mincore/mincore_selftest", "global.check_file_mmap"):
        "it counts what was read ahead, which the host has taken: mincore() says so",
    **{("on, always", "cgroup/test_memcontrol", case):
       "what the host has taken is given up before anything else, also by a cgroup that is "
       "protected: there is nothing left to protect"
       for case in ["test_memcg_min", "test_memcg_low",
                    *(f"test_memcg_low ({n})" for n in (2, 3, 4))]},
}
# What fails now and then on the unpatched kernel as well, and why: test, beginning of cases.
SOMETIMES = {
    ("futex/functional/run.sh", "futex_requeue many"):
        "ten threads have 10 ms to begin; on a machine with load 14 it failed 2 times of 16 "
        "unpatched, and 2 of 16 with \"on, always\"",
}
OURS = [setup for setup in SETUPS if setup != BASE]
BUILDS = [
    ("initramfs", ["make", "initramfs"]),
    ("kernel for the kernel's own selftests, unpatched",
     ["scripts/kernel", "pristine-selftests", "base", "selftests"]),
    ("kernel for the kernel's own selftests", ["scripts/kernel", "selftests", "base", "hva",
                                               "selftests"]),
    ("libraries for the kernel's own selftests", ["scripts/fetch", "selftests"]),
    ("the kernel's own selftests", ["scripts/selftests"]),
]
KSFT_SKIP = 4
KILLED = 128 + 9

# The programs, /tmp and the files that they make are on ext4.
START = " && ".join([
    "mount --bind /mnt/write /tmp", "chmod 1777 /tmp", "cp /mnt/bash /bin/bash",
    "mkdir -p /etc /dev/shm /dev/mqueue",
    "mount -t tmpfs none /dev/shm", "mount -t mqueue none /dev/mqueue",
    "mkdir -p /dev/pts", "mount -t devpts none /dev/pts",
    "mount -t cgroup2 none /sys/fs/cgroup",
    r"printf '#!/bin/sh\nexec \"$@\"\n' >/bin/sudo", "chmod +x /bin/sudo",
    "echo root:x:0:0::/:/bin/sh >/etc/passwd",
    "echo nobody:x:65534:65534::/tmp:/bin/sh >>/etc/passwd",
    "ln -sf /proc/self/fd /dev/fd", "ln -sf /proc/self/fd/1 /dev/stdout",
    "ln -sf /proc/mounts /etc/mtab",
    "echo 256M >/sys/block/zram0/disksize", "mkswap /dev/zram0", "swapon /dev/zram0"])
# What a test left behind does not matter to the next one.
CLEAN = ("kill -9 -1; sleep 0.2; rm -rf /mnt/write/*; "
         "echo 0 >/proc/sys/vm/nr_hugepages; echo 0 >/proc/sys/vm/overcommit_memory; "
         "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled; "
         "echo 2 >/sys/kernel/mm/ksm/run; echo 0 >/sys/kernel/mm/ksm/run")
HUGE = "echo 256 >/proc/sys/vm/nr_hugepages"
ONE_HUGE = "echo 1 >/proc/sys/vm/nr_hugepages"


class Test(NamedTuple):
    command: str
    seconds: int = 60
    before: str = ":"


def rseq(program):
    return Test("for kind in s l b 'b -M' m 'm -M' i r; do "
                f"./{program} -T $kind -r 100 -t 6 || exit; done", 200)


# By directory, as run_vmtests.sh and the other scripts call them; less of what takes long.
TESTS = {
    "mm": {
        **{name: Test(f"./{name}", before=HUGE) for name in [
            "hugepage-mmap", "hugepage-shm", "map_hugetlb", "hugepage-mremap",
            "hugepage-vmemmap", "hugetlb-madvise", "hugetlb_dio"]},
        **{name: Test(f"./{name}", before=ONE_HUGE) for name in [
            "hugetlb_fault_after_madv", "hugetlb_madv_vs_map"]},
        "gup_test fast": Test("./gup_test -u"),
        "gup_test pin": Test("./gup_test -a"),
        "gup_test dump": Test("./gup_test -ct -F 0x1 0 19 0x1000"),
        "gup_test file": Test("dd if=/dev/zero of=/tmp/f bs=1M count=16 2>/dev/null; "
                              "./gup_test -a -f /tmp/f -S -m 16 -n 123 && "
                              "./gup_test -L -f /tmp/f -S -m 16 -n 1 && "
                              "./gup_test -u -f /tmp/f -m 16 -n 512"),
        "gup_longterm": Test("./gup_longterm", 120, HUGE),
        "uffd-unit-tests": Test("for name in register zeropage move wp- minor sigbus events; do "
                                "./uffd-unit-tests -f $name || exit; done", 300, HUGE),
        # On s390x, unpatched as well, it never ends with memory of hugetlb.
        "uffd-unit-tests poison": Test("./uffd-unit-tests -f poison", 60, HUGE),
        **{f"uffd-stress {kind}": Test(f"./uffd-stress {kind} {size}", 200, HUGE)
           for kind, size in [("anon", "20 4"), ("hugetlb", "64 4"),
                              ("hugetlb-private", "64 4"), ("shmem", "20 4"),
                              ("shmem-private", "20 4")]},
        "on-fault-limit": Test("su nobody -c ./on-fault-limit"),
        **{name: Test(f"./{name}") for name in [
            "map_fixed_noreplace", "map_populate", "mlock2-tests", "mrelease_test",
            "mremap_dontunmap", "madv_populate", "ksm_functional_tests", "soft-dirty",
            "mkdirty", "mdwe_test", "droppable", "mseal_test", "seal_elf", "hmm-tests",
            "thuge-gen", "hugetlb-read-hwpoison", "hugetlb-soft-offline",
            "va_high_addr_switch"]},
        "mremap_test": Test("./mremap_test", 400),
        "compaction_test": Test("./compaction_test", 120),
        "mlock-random-test": Test("./mlock-random-test", 120),
        "virtual_address_range": Test("./virtual_address_range", 120,
                                      "echo 1 >/proc/sys/vm/overcommit_memory"),
        "ksm_tests merge": Test("./ksm_tests -M -p 10"),
        "ksm_tests unmerge": Test("./ksm_tests -U"),
        "ksm_tests zero": Test("./ksm_tests -Z -p 10 -z 0 && ./ksm_tests -Z -p 10 -z 1"),
        "ksm_tests time": Test("./ksm_tests -P -s 100", 120),
        "ksm_tests huge": Test("./ksm_tests -H -s 100", 120),
        "pagemap_ioctl": Test("./pagemap_ioctl", 200, HUGE),
        "cow": Test("./cow", 300, HUGE),
        "khugepaged": Test("./khugepaged", 200),
        "khugepaged file": Test("./khugepaged all:file /tmp", 200),
        "khugepaged -s 2": Test("./khugepaged -s 2", 200),
        "transhuge-stress": Test("./transhuge-stress -d 20"),
        "split_huge_page_test": Test("./split_huge_page_test", 120),
        "migration": Test("./migration", 200),
        "charge_reserved_hugetlb.sh": Test("bash ./charge_reserved_hugetlb.sh -cgroup-v2", 200),
        "hugetlb_reparenting_test.sh": Test("bash ./hugetlb_reparenting_test.sh -cgroup-v2",
                                            200),
    },
    "splice": {"default_file_splice_read.sh": Test("sh ./default_file_splice_read.sh"),
               "short_splice_read.sh": Test("sh ./short_splice_read.sh")},
    "mincore": {"mincore_selftest": Test("./mincore_selftest")},
    "memfd": {"memfd_test": Test("./memfd_test"),
              "memfd_test hugetlbfs": Test("./memfd_test hugetlbfs", before=HUGE),
              "run_fuse_test.sh": Test("bash ./run_fuse_test.sh")},
    "mqueue": {"mq_open_tests": Test("./mq_open_tests")},
    "futex/functional": {"run.sh": Test("sh ./run.sh", 120)},
    "rseq": {
        **{name: Test(f"./{name}") for name in [
            "basic_test", "basic_percpu_ops_test", "basic_percpu_ops_mm_cid_test"]},
        **{name: rseq(name) for name in [
            "param_test", "param_test_compare_twice", "param_test_mm_cid",
            "param_test_mm_cid_compare_twice"]},
    },
    "ptrace": {name: Test(f"./{name}") for name in [
        "get_syscall_info", "peeksiginfo", "vmaccess", "get_set_sud"]},
    "exec": {name: Test(f"./{name}") for name in [
        "execveat", "non-regular", "recursion-depth", "null-argv", "load_address.0x1000",
        "load_address.0x200000", "load_address.0x1000000"]},
    "filesystems": {"devpts_pts": Test("./devpts_pts")},
    "filesystems/epoll": {"epoll_wakeup_test": Test("./epoll_wakeup_test", 120)},
    "filesystems/eventfd": {"eventfd_test": Test("./eventfd_test")},
    "filesystems/fat": {"run_fat_tests.sh": Test("bash ./run_fat_tests.sh")},
    "filesystems/overlayfs": {"dev_in_maps": Test("./dev_in_maps")},
    "filesystems/statmount": {name: Test(f"./{name}") for name in [
        "statmount_test", "statmount_test_ns"]},
    "cachestat": {"test_cachestat": Test("./test_cachestat")},
    "cgroup": {name: Test(f"./{name}", 200) for name in [
        "test_core", "test_cpu", "test_cpuset", "test_freezer", "test_hugetlb_memcg",
        "test_kill", "test_kmem", "test_memcontrol", "test_pids", "test_zswap"]},
}
# What is built and not run, or there and not built: why.
NOT_RUN = {
    "exec/binfmt_script.py": "there is no Python in the guest",
    "mm/test_vmalloc.sh": "it needs modules",
    "mm/test_hmm.sh": "it needs modules, and HMM is not there on s390",
    "mm/va_high_addr_switch.sh": "for other architectures; its program is run",
    "rseq/run_param_test.sh": "hours under emulation; its programs are run with less to do",
    "cgroup/test_cpuset_prs.sh": "hours under emulation, and nothing of memory",
    "cgroup/test_cpuset_v1_hp.sh": "the guest has the cgroups of version 2",
    "cgroup/test_stress.sh": "it repeats test_core",
    "filesystems/dnotify_test": "it has no end",
    "mqueue/mq_perf_tests": "ten minutes under emulation, and it looks at times only",
}

CASE = re.compile(r"(?:# )?(not )?ok \d+(?: -)? ?(.*?)(?: *# (SKIP|XFAIL).*)?$", re.IGNORECASE)
UFFD = re.compile(r"Testing (.*)\.\.\. (done|skipped|failed)")
STATES = {"done": "ok", "skipped": "skipped", "failed": "not ok"}


def cases_of(output):
    """What became of the tests that a program tells of, by name, without what is another one
    each time: addresses, and how much memory it took."""
    cases = {}
    for line in output.splitlines():
        line = line.strip()
        if case := CASE.match(line):
            name, state = case[2], "not ok" if case[1] else "skipped" if case[3] else "ok"
        elif case := UFFD.match(line):
            name, state = case[1], STATES[case[2]]
        else:
            continue
        name = re.sub(r"0x[0-9a-f]{4,}", "0x", name)
        name = re.sub(r"\d+MB of memory", "memory", name).strip() or "test"
        number, unique = 1, name
        while unique in cases:
            number += 1
            unique = f"{name} ({number})"
        cases[unique] = state
    return cases


class Machine:
    """A guest that is started again when a test has spoilt it."""

    def __init__(self, setup, patience):
        self.patience = patience
        kernel, append, policy = SETUPS[setup]
        options = []
        for setting in properties_of(policy, 1, ()):
            options += ["-global", f"s390-cmma.{setting}"]
        # What the kernel complains of belongs to the test that runs: see complaints().
        self.make = lambda: Guest(
            place.QEMU, place.kernel(kernel), place.INITRD, drive=IMAGE, memory="2G",
            append=append, options=options, allow=".", boot_timeout=120 * patience,
            log=os.path.join(place.LOGS, f"selftests-{word(setup)}.log"))
        self.guest = None
        self.seen = 0

    def stop(self):
        if self.guest:
            self.guest.stop()
        self.guest = None

    def start(self):
        self.stop()
        guest = self.make()
        guest.__enter__()
        self.guest = guest
        self.seen = 0
        guest.run(START, timeout=60 * self.patience)

    def complaints(self):
        """The complaints of the kernel since the last call."""
        text = self.guest.console.text()
        new, self.seen = text[self.seen:], len(text)
        return [line for line in new.splitlines() if FAILURES.search(line)
                and not HARMLESS.search(line) and not re.search("oom-kill|Out of memory", line)]

    def run(self, directory, test):
        """The states of a test by name, as "" of all of it, and what it said."""
        if not self.guest:
            self.start()
        limit = int(test.seconds * self.patience)
        try:
            self.guest.run(CLEAN, timeout=60 * self.patience)
            self.complaints()
            words = test.command.replace("'", "'\\''")
            status, output = self.guest.run(
                f"{test.before}; cd /mnt/selftests/{directory} && export TMPDIR=/tmp && "
                f"setsid timeout -s KILL {limit} sh -c '{words}' >/output 2>&1; "
                "status=$?; cat /output; exit $status", timeout=limit + 60, check=False)
        except GuestError as error:
            text = self.guest.console.text()[-3000:]
            self.stop()
            return {"": "not ok"}, f"{error}\n{text}"
        states = cases_of(output)
        complaints = self.complaints()
        if complaints:
            states[COMPLAINS] = "not ok"
            output += "\n" + "\n".join(complaints)
            self.stop()
        states[""] = ("ok" if not status else "skipped" if status == KSFT_SKIP else "not ok")
        return states, output + f"\nstatus {status}" + (
            f": killed after {limit} s" if status == KILLED else "")


def every():
    for directory, tests in TESTS.items():
        for name, test in tests.items():
            yield directory, name, test


def titles():
    return [f"{directory}/{name}" for directory, name, _ in every()]


def word(setup):
    return setup.replace(", ", "-")


def results_path(setup):
    return os.path.join(place.BUILD, "results", f"selftests-{word(setup)}.json")


def text_path(setup):
    return os.path.join(place.LOGS, f"selftests-{word(setup)}.txt")


def load(setup):
    try:
        with open(results_path(setup), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def excused(setup, title, case):
    return (setup, title, case) in RIGHT or any(
        title == where and case.startswith(name) for where, name in SOMETIMES)


def measure(setup, wanted, patience=1):
    """Run the tests; what they say is in build/logs/selftests-SETUP.txt."""
    results = load(setup) if wanted else {}
    os.makedirs(os.path.dirname(results_path(setup)), exist_ok=True)
    with open(text_path(setup), "a" if wanted else "w", encoding="utf-8") as log:
        machine = Machine(setup, patience)
        try:
            for directory, name, test in every():
                title = f"{directory}/{name}"
                if wanted and title not in wanted and directory not in wanted:
                    continue
                states, output = machine.run(directory, test)
                results[title] = states
                log.write(f"===== {title}: {states['']}\n{output}\n")
                log.flush()
                print(f"# {setup}: {title}: {states['']}, {counts(states)}", flush=True)
                with open(results_path(setup), "w", encoding="utf-8") as file:
                    json.dump(results, file, indent=1)
        finally:
            machine.stop()
    return results


def counts(states):
    """Passed/failed/skipped of what a program tells of, or of it as a whole."""
    each = [state for name, state in states.items() if name] or [states[""]]
    return "/".join(str(each.count(state)) for state in ("ok", "not ok", "skipped"))


def judge(report, results, wanted):
    """A test is good if no set-up of ours has a result that is worse than unpatched."""
    for directory, name, _ in every():
        title = f"{directory}/{name}"
        if wanted and title not in wanted and directory not in wanted:
            continue
        before = results[BASE].get(title)
        if before is None:
            report.failed(f"selftests: {title}", "it was not run unpatched")
            continue
        spoilt = []
        for setup in OURS:
            after = results[setup].get(title, {})
            # A program fails as a whole because of its cases.
            bad = [case for case in worse(before, after) if not excused(setup, title, case)]
            failing = [case for case, state in after.items() if case and state == "not ok"]
            if failing and all(excused(setup, title, case) for case in failing):
                bad = [case for case in bad if case]
            spoilt += [f"{case or 'as a whole'}: {before[case]} {BASE}, "
                       f"{after.get(case, 'not run')} with {setup}" for case in bad]
            if COMPLAINS in after and COMPLAINS not in before:
                spoilt.append(f"the kernel complains with {setup}: see {text_path(setup)}")
        report.result(not spoilt, f"selftests: {title}: {counts(before)} {BASE}"
                      + ", and fails" * (before[""] == "not ok"), "\n".join(spoilt))


def lost():
    """What could not be built, and why: words are of the compiler."""
    with open(LOST, encoding="utf-8") as file:
        for line in file:
            name, _, why = line.rstrip("\n").partition("\t")
            yield name, re.sub(r".*(?:error: |: cannot find)", lambda found: "cannot find"
                               if found[0].endswith("find") else "", why)


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def page(results):
    """All results, for docs/."""
    lines = ["# The kernel's own selftests", "",
             "What `make check-selftests` found: passed/failed/skipped, of the tests that a "
             "program tells of, or",
             "of the program if it tells of none; `!` where it ended with an error.", "",
             row("test", *SETUPS), "|---" * (1 + len(SETUPS)) + "|"]
    failing = []
    for title in titles():
        each = [results[setup].get(title) for setup in SETUPS]
        lines.append(row(title, *("not run" if states is None else
                                  counts(states) + " !" * (states[""] == "not ok")
                                  for states in each)))
        for case in {case: 0 for states in each for case in states or {}}:
            found = [(states or {}).get(case, "-") for states in each]
            if "not ok" in found and (case or not any(
                    state == "not ok" for states in each for name, state
                    in (states or {}).items() if name)):
                failing.append(row(title, case.replace("|", "/") or "as a whole", *found))
    lines += ["", "## What fails", "", row("test", "case", *SETUPS),
              "|---" * (2 + len(SETUPS)) + "|", *failing]
    lines += ["", "Of these, right on a host that takes all at once:", "",
              *(f"- {title}, {case}: {why}" for (_, title, case), why in RIGHT.items()),
              "", "Not judged, as it fails unpatched as well:", "",
              *(f"- {title}, {case}: {why}" for (title, case), why in SOMETIMES.items())]
    lines += ["", "## What is not built, or not run", "", row("program", "why"), "|---|---|",
              *(row(*pair) for pair in [*lost(), *NOT_RUN.items()])]
    return "\n".join(lines) + "\n"
