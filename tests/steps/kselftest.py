"""The selftests and KUnit suites by the kernel's own means, see tools/testing/."""

import json
import os
import re
import shutil
import subprocess
import tempfile

from harness import place
from harness.guest import Guest, GuestError
from steps import filesystems
from steps.check_controls import COMPLAINT, SKIP, file_name
from steps.stress import POLICIES, properties_of

INITRD = place.out("kselftest.cpio.gz")
KERNEL = place.kernel("kselftest")
# It appends to /dev/stdout, which has to be something that its user can open.
RUN = ("ln -sf /proc/self/fd/1 /dev/stdout && cd /kselftest && export PAGE_HVA_DIR={} && "
       ". /tmp/variants && {}")
USER = ("mkdir -p /etc && echo root:x:0:0::/:/bin/sh >/etc/passwd && "
        "echo user:x:1000:1000::/tmp:/bin/sh >>/etc/passwd && chmod 777 /mnt/write && "
        "chmod 755 / /kselftest")
# What a program says is between a '# ' before it and the result of the program itself.
CASE = re.compile(r"# (not )?ok \d+ (\S+)(?: # SKIP (.*)| #  .*)?$")
PROGRAM = re.compile(r"(not )?ok \d+ selftests: page_hva: (\w+)(?: # (SKIP|.*))?$")
MET = re.compile(r"(\d+) discard faults, (\d+) pages dropped$")
# Pages of shmem stay stable, in the swap cache as well.
STABLE = re.compile(r"swap\.shmem\.")
SECONDS = 900
# Hooks, and a program that fails without them on a host that takes all at once.  What has a
# control of its own for being slow, or for a host that takes pages later, is not noticed here.
NOTICED = {
    "make_stable@__page_hva_lookup": "shared",
    "claim": "splice",
    "reread": "read",
    "copy": "cow",
    "make_stable@wp_page_shared": "shared",
    "make_stable@follow_page_pte": "gup",
    "make_stable@gup_fast_pte_range": "gup",
    "make_stable@migrate_folio_unmap": "migrate",
}
# Without root, each waits until pages are volatile; these pass and skip some.
OF_USER = ["exec", "fork", "migrate", "swap"]


def boot(name, policy, kernel=KERNEL, append="page_hva=on", disks=False):
    options = []
    for setting in properties_of(policy, 1, ()):
        options += ["-global", f"s390-cmma.{setting}"]
    if disks:
        options += filesystems.disk_options()
    return Guest(place.QEMU, kernel, INITRD, drive=None if disks else place.IMAGE,
                 append=append, options=options,
                 log=os.path.join(place.LOGS, f"kselftest-{file_name(name)}.log"))


class Case:
    """One test of a program: what it said, and how it ended."""

    def __init__(self, words):
        self.words = words
        self.name = self.skip = None
        self.bad = False

    def met(self):
        """Discard faults and dropped pages while it ran."""
        return sum(int(number) for line in self.words for found in [MET.search(line)]
                   if found for number in found.groups())


class Programs:
    """Collects what run_kselftest.sh prints."""

    def __init__(self):
        self.cases = []             # since the last program
        self.words = []
        self.ended = {}             # by program: its cases, whether it is bad, and what is said
        self.reason = ""

    def line(self, text):
        text = text.rstrip()
        case, program = CASE.match(text), PROGRAM.match(text)
        skipped = re.match(r"# 1\.\.0 # SKIP (.*)", text)
        if program:
            self.ended[program[2]] = (self.cases, program[1], self.reason or program[3],
                                      self.words)
            self.cases, self.words, self.reason = [], [], ""
        elif case:
            done = Case(self.words)
            done.bad, done.name, done.skip = case.groups()
            self.cases.append(done)
            self.words = []
        elif skipped:
            self.reason = skipped[1]
        else:
            self.words.append(text)


def run(guest, directory, wanted=(), user=False, without=(), programs=None):
    """All programs, or those that are named, without some variants of their fixtures."""
    programs = programs or Programs()
    words = " ".join(f"-V {variant}" for variant in without)
    guest.run("{ " + "; ".join(f"echo \"export KSELFTEST_{name.upper()}_ARGS='{words}'\""
                        for name in program_names()) + "; } >/tmp/variants")
    command = " ".join(["sh run_kselftest.sh", *(f"-t page_hva:{name}" for name in wanted),
                        "| cat"])
    if user:
        guest.run(USER)
        command = f"su -s /bin/sh user -c '{command}'"
    guest.run(RUN.format(directory, command), timeout=SECONDS, on_line=programs.line)
    return programs


def selftests(report, name, policy, *, must_meet=False, directory="/mnt/write", prepare=None,
              wanted=(), user=False, without=(), **more):
    """A result for each test, and for what is wrong with a program as a whole."""
    programs = Programs()       # what has ended, also if the guest does not come to its end
    with report.test(f"kselftest: {name}: the programs end"):
        with boot(name, policy, **more) as guest:
            if prepare:
                prepare(guest)
            run(guest, directory, wanted, user, without, programs)
        listed = wanted or program_names()
        assert set(programs.ended) == set(listed), \
            f"these ended: {sorted(programs.ended)}, of {sorted(listed)}"
        alone = [f"{program}: {why}\n" + "\n".join(words[-20:])
                 for program, (cases, bad, why, words) in programs.ended.items()
                 if bad and not any(case.bad for case in cases)]
        assert not alone, "\n".join(alone)
    for program, (cases, _, why, _) in programs.ended.items():
        if not cases:
            report.failed(f"kselftest: {name}: {program}", f"no test was run: {why}")
        for case in cases:
            title = f"kselftest: {name}: {program}: {case.name}"
            if case.skip:
                report.skipped(title, case.skip)
            elif must_meet and not case.bad and not case.met() and \
                    not STABLE.match(case.name):
                report.failed(title, "it met no discarded page: it shows nothing")
            else:
                report.result(not case.bad, title, "\n".join(case.words[-20:]))


def program_names():
    path = os.path.join(place.BUILD, "kselftest/root/kselftest/kselftest-list.txt")
    with open(path, encoding="ascii") as file:
        return [line.strip().partition(":")[2] for line in file]


def quick(report):
    """For make check: one host, which discards at once, and half of the variants."""
    selftests(report, "always", "always", kernel=place.KERNEL, must_meet=True,
              without=("sparse", "tail", "not_mapped", "populate"))


def skips(report, name, kernel, append, reason):
    """Nothing fails where there is nothing to test, and the reason is told."""
    with report.test(f"kselftest: {name}: all programs skip: {reason}"):
        with boot(name, "none", kernel=kernel, append=append) as guest:
            programs = run(guest, "/mnt/write")
        assert set(programs.ended) == set(program_names()), f"{sorted(programs.ended)}"
        for program, (cases, bad, why, _) in programs.ended.items():
            assert not cases and not bad and reason in why, f"{program}: {why}"


def everywhere(report):
    """Every host and file system, with and without root, and where there is nothing to test."""
    for policy in POLICIES:
        selftests(report, f"ext4, {policy}", policy, must_meet=policy == "always")
    selftests(report, "not root, always", "always", must_meet=True, wanted=OF_USER, user=True)
    for kind in ("xfs", "btrfs"):
        selftests(report, f"{kind}, always", "always", must_meet=True, disks=True,
                  directory="/fs", prepare=lambda guest, kind=kind: mount(guest, kind))
    skips(report, "page_hva=off", KERNEL, "page_hva=off", "not enabled")
    skips(report, "CONFIG_PAGE_HVA=n", place.kernel("off"), "page_hva=on",
          "the kernel has no CONFIG_PAGE_HVA")
    with report.test("kselftest: tmpfs: all programs skip, as it has no disk"):
        with boot("tmpfs", "none") as guest:
            programs = run(guest, "/tmp")
        for program, (cases, bad, why, _) in programs.ended.items():
            assert not cases and not bad and "has no disk" in why, f"{program}: {why}"


def mount(guest, kind):
    filesystems.name_disks(guest)
    guest.run(filesystems.KINDS[kind].setup)


def notices(hook, program, log):
    """What is said when a hook is off while a program runs; raises if nothing is."""
    with boot(log, "always") as guest:
        guest.run(f"echo '{hook}' >{SKIP}")
        try:
            programs = run(guest, "/mnt/write", [program])
        except GuestError as error:
            words = COMPLAINT.search(guest.console.text())
            assert words, f"nobody says what is wrong: {error}"
            return words[0]
    cases, bad, why, words = programs.ended[program]
    assert bad, f"without {hook}, {program} passes"
    return ", ".join(case.name for case in cases if case.bad) or f"{why} {words[-1:]}"


def controls(report):
    for hook, program in NOTICED.items():
        with report.test(f"kselftest: {program} notices when the hook {hook} is off"):
            print(f"#   {hook} {notices(hook, program, 'control')[:160]}", flush=True)


def reason(home, case):
    """Why a case was skipped: the tool keeps what the kernel said."""
    with open(os.path.join(home, "test.log"), encoding="utf-8", errors="replace") as file:
        found = re.search(rf"ok \d+ {case} # SKIP *(.*)", file.read())
    return found[1].strip() if found else "the kernel does not say why"


def kunit(report):
    """The unit tests, configured, built and run by the kernel's own tool."""
    home = os.path.join(place.BUILD, "kunit")
    results = os.path.join(place.LOGS, "kunit-tool.json")
    log = os.path.join(place.LOGS, "kunit-tool.log")
    with tempfile.TemporaryDirectory() as bin_path:
        # It has no option for the program, but the path.
        os.symlink(place.QEMU, os.path.join(bin_path, "qemu-system-s390x"))
        env = dict(os.environ, PATH=f"{bin_path}:{os.environ['PATH']}",
                   CCACHE_DIR=os.path.join(place.BUILD, "ccache"), PYTHONDONTWRITEBYTECODE="1")
        ccache = "ccache " if shutil.which("ccache") else ""
        command = ["tools/testing/kunit/kunit.py", "run", "--arch=s390",
                   "--cross_compile=s390x-linux-gnu-", "--kunitconfig=mm/page_hva",
                   f"--build_dir={home}", "--qemu_args=-cpu max",
                   "--kernel_args=page_hva=on page_poison=on", f"--json={results}",
                   f"--make_options=CC={ccache}s390x-linux-gnu-gcc"]
        with report.test("kunit.py builds the kernel and runs the suites to their end"), \
                open(log, "w", encoding="utf-8") as file:
            done = subprocess.run(command, cwd=os.path.join(place.BUILD, "linux"), env=env,
                                  stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                  check=False)
            assert not done.returncode, f"it ended with {done.returncode} (log: {log})"
    if done.returncode:
        return
    with open(results, encoding="utf-8") as file:
        suites = json.load(file)["sub_groups"]
    cases = [(suite["name"], case) for suite in suites for case in suite["test_cases"]]
    for suite, case in cases:
        name = f"kunit.py: {suite}: {case['name']}"
        if case["status"] == "SKIP":
            report.skipped(name, reason(home, case["name"]))
        else:
            report.result(case["status"] == "PASS", name)
    report.result(any(case["status"] == "PASS" for _, case in cases),
                  "kunit.py: page_hva=on is enabled, or all would skip")
