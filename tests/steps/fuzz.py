"""Random operations on files by tests/guest/fuzz.c; a list of them that fails is made small."""

import collections
import concurrent.futures
import os
import random
import re
import time

from harness import place
from harness.guest import Guest, GuestError
from harness.qmp import QmpError
from steps import filesystems, swap
from steps.stress import Discarder, properties_of

SECONDS = 30            # of a guest in make check
AT_ONCE = 2             # guests
LIMIT = 64              # MiB for the program and its page cache
SHRINKING = 300         # seconds that making a list smaller may take, at most
SHOWN = 60              # lines of a list
TRIES = 20              # of a list that failed, before it counts as not repeatable
SKIP = "/sys/kernel/debug/page_hva/skip"

# takes: what the host takes by command all the time; without it, it does when it is asked to.
Setting = collections.namedtuple("Setting", "fs policy kernel takes on properties memory cpus",
                                 defaults=("main", (), "on", (), "320M", 2))
SETTINGS = {
    "ext4-always": Setting("ext4", "always"),
    "xfs-random": Setting("xfs", "random", "fs"),
    "btrfs-always": Setting("btrfs", "always", "fs"),
    "ext4-none": Setting("ext4", "none", takes=("volatile", "unused")),
    "xfs-always": Setting("xfs", "always", "fs", cpus=4),
    "btrfs-random": Setting("btrfs", "random", "fs"),
    "ext4-1k-random": Setting("ext4-1k", "random", "fs", cpus=4),
    # This kernel takes memory offline, too.
    "ext4-debug": Setting("ext4", "random", "debug", memory="640M"),
    "xfs-debug": Setting("xfs", "always", "debug", memory="640M"),
    "xfs-1k-none": Setting("xfs-1k", "none", "fs"),
    "ext4-potential": Setting("ext4", "always", on="on,p"),
    "ext4-evict": Setting("ext4", "none", takes=("evict", "volatile")),
    "xfs-poison": Setting("xfs", "always", "fs", properties=("poison=on",)),
    "ext4-strict": Setting("ext4", "always", properties=("strict-unused=all",)),
}
# On kernels that make check builds.
SHORT = ["ext4-always", "xfs-debug"]
# A hook that is switched off, and where its absence is to be noticed: soon, but then the
# kernel is gone; or later, and the list can be repeated as often as it takes.
CONTROL, LATER = ("xfs-debug", "claim"), ("xfs-debug", "reread")


class Failed(GuestError):
    """The program, or the kernel below it; seed is that of the list that it was at."""

    def __init__(self, text, seed=None):
        super().__init__(text)
        self.seed = seed


class Machine(filesystems.Machine):
    """A guest that is set up for the program."""

    def __init__(self, setting, name, seed=1, skip=None):
        super().__init__(setting.policy, place.KERNEL if setting.kernel == "main" else
                         place.kernel(setting.kernel), name)
        self.setting = setting
        self.seed = seed
        self.skip = skip
        self.listed = False     # has the guest a list?
        self.order = []         # numbers of the operations of a replay, as they began
        self.tried = 0

    def boot(self):
        setting = self.setting
        options = filesystems.disk_options()
        for value in (*properties_of(self.policy, self.seed, setting.takes),
                      *setting.properties):
            options = [*options, "-global", f"s390-cmma.{value}"]
        self.guest = Guest(place.QEMU, self.kernel, place.INITRD, memory=setting.memory,
                           smp=setting.cpus, options=options,
                           append=f"page_hva={setting.on} kunit.enable=0",
                           log=os.path.join(place.LOGS, f"{self.name}.log"),
                           boot_timeout=300).__enter__()
        filesystems.name_disks(self.guest)
        filesystems.setup(self.guest, filesystems.KINDS[setting.fs])
        swap.prepare(self.guest, "zram")
        self.guest.run(f"echo {LIMIT}M >{swap.GROUP}/memory.max && mkswap /dev/zram0 && "
                       "swapon /dev/zram0")
        # A kernel that checks itself a lot would read the same over and over.
        if setting.kernel != "debug":
            self.guest.hurry()
        if self.skip:
            self.guest.run(f"echo '{self.skip}' >{SKIP}")

    def run(self, words, timeout):
        """The program with these words; what it printed.  Raises Failed, and is gone then."""
        guest = self.running()
        seed = None

        def on_line(line):
            nonlocal seed
            if line == "discard":
                guest.qmp.command("x-s390-cmma-discard", what="volatile")
            elif line.startswith("fuzz: seed="):
                seed = int(re.match(r"fuzz: seed=(\d+)", line)[1])
            elif re.fullmatch(r"op \d+", line):
                self.order.append(line.split()[1])
            elif re.fullmatch(r"try \d+", line):
                self.tried = int(line.split()[1])
                self.order.clear()

        takes = self.setting.takes
        command = swap.in_group(f"fuzz --dir /fs --group {swap.GROUP} "
                                f"{'' if takes else '--host '}{words}")
        try:
            if takes:
                with Discarder(guest, takes) as host:
                    status, text = guest.run(command, timeout, False, on_line)
                if host.error:
                    raise GuestError(f"discard: {host.error}")
            else:
                status, text = guest.run(command, timeout, False, on_line)
        except (GuestError, QmpError, OSError) as error:
            self.stop()
            # What was printed before is not wanted a second time.
            raise Failed(str(error)[-3000:], seed) from None
        text = re.sub(r"(?m)^(discard|fuzz: seed=.*|(op|try) \d+)\n", "", text).strip()
        if status == 1:
            raise Failed(text, seed)
        if status:
            raise GuestError(f"fuzz {words}: {text}")
        return text

    def put(self, lines):
        """The list, as a file of the guest."""
        guest = self.running()
        guest.run("rm -f /tmp/list")
        for start in range(0, len(lines), 150):
            part = ";".join(lines[start:start + 150])
            guest.run(f"echo '{part}' | tr ';' '\\n' >>/tmp/list")

    def stop(self):
        super().stop()
        self.listed = False

    def make_list(self, seed):
        """The list that a seed makes becomes a file of the guest, and the result."""
        self.run(f"--seed {seed} --list >/tmp/list", 120)
        self.listed = True
        return self.running().run("cat /tmp/list").splitlines()


class List:
    """A list of operations that can be taken apart."""

    def __init__(self, lines):
        self.head = lines[0]
        self.rounds = []                # each: who owns what, and its operations
        for line in lines[1:]:
            if line == "round":
                self.rounds.append(([line], []))
            elif line.startswith("own "):
                self.rounds[-1][0].append(line)
            elif line.startswith("op "):
                self.rounds[-1][1].append(line)

    def items(self):
        return [(number, op) for number, (_, ops) in enumerate(self.rounds) for op in ops]

    def lines(self, items):
        """The list with these operations only."""
        result = [self.head]
        for number, (owners, _) in enumerate(self.rounds):
            ops = [op for where, op in items if where == number]
            if ops:
                result += owners + ops
        if len(result) == 1:            # what is wrong may be so without any
            result += self.rounds[0][0]
        return result


def numbers(items):
    """As the program takes them: 1-3,7."""
    ranges = []
    for number in sorted(int(op.split()[1]) for _, op in items):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{first}-{last}" for first, last in ranges)


def smaller(items, fails):
    """Delta debugging: some of the items, of which none can be taken away."""
    parts = 2
    while items:
        size = max(1, len(items) // parts)
        # What comes last is what failed.
        for start in range(0, len(items), size):
            rest = items[:start] + items[start + size:]
            if fails(rest):
                items, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(items))
    return items


class Shrinker:
    """Repeats a list that failed, and takes away what it fails without."""

    def __init__(self, machine, seed, seconds):
        self.machine = machine
        self.seed = seed
        self.lines = machine.make_list(seed)
        self.list = List(self.lines)
        self.end = time.monotonic() + seconds
        self.said = None
        self.tries = TRIES
        self.runs = 0

    def fails(self, items):
        if time.monotonic() > self.end:
            return False
        self.runs += 1
        try:
            if not self.machine.listed:
                self.machine.make_list(self.seed)
            self.machine.run(f"--replay /tmp/list --only {numbers(items) or '0'} "
                             f"--tries {self.tries} --hang 20", 120)
        except Failed as failed:
            self.said = str(failed)
            return True
        return False

    def shrink(self):
        """The lines of the smallest list that was found, or None if it is not repeated."""
        items = self.list.items()
        if not self.fails(items):
            return None
        self.tries = max(3, 3 * self.machine.tried)
        # What began last was there when it failed.
        at = {item[1].split()[1]: item for item in items}
        order = [at[number] for number in self.machine.order]
        for count in (8, 32, 128):
            rest = [item for item in items if item in set(order[-count:])]
            if self.fails(rest):
                items = rest
                break
        # By rounds, by processes, and one by one.
        for key in (lambda item: item[0], lambda item: item[1].split()[2], lambda item: item):
            groups = collections.OrderedDict()
            for item in items:
                groups.setdefault(key(item), []).append(item)
            kept = smaller(list(groups), lambda keys: self.fails(
                [item for item in items if key(item) in set(keys)]))
            items = [item for item in items if key(item) in set(kept)]
        return self.list.lines(items)


def keep(name, lines):
    path = os.path.join(place.LOGS, name)
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    return os.path.relpath(path, place.ROOT)


def explain(name, setting, failed, skip=None, seconds=SHRINKING):
    """What is said of a failure: where it was, and the list that does the same."""
    text = [str(failed), ""]
    if failed.seed is None:
        return "\n".join(text + ["it did not come to a list"]), None, 0
    with Machine(setting, f"{name}-shrink", failed.seed, skip) as machine:
        shrinker = Shrinker(machine, failed.seed, seconds)
        path = keep(f"{name}.list", shrinker.lines)
        began = time.monotonic()
        short = shrinker.shrink()
    count = len(shrinker.list.items())
    if not short:
        return "\n".join(text + [f"seed {failed.seed}, {count} operations in {path}: it did not "
                                 f"happen again in {TRIES} tries"]), None, count
    left = len(List(short).items())
    text += [f"seed {failed.seed}, {count} operations in {path}; these {left} are enough (found in "
             f"{time.monotonic() - began:.0f} s, {shrinker.runs} runs, {shrinker.tries} tries each), in "
             f"{keep(f'{name}.short', short)}:", *short[:SHOWN]]
    if shrinker.said:
        text += ["", "The last failure while it was made smaller:", shrinker.said]
    return "\n".join(text), left, count


def one(name, seed, seconds, skip=None):
    """One guest; what it printed.  Raises Failed."""
    setting = SETTINGS[name]
    with Machine(setting, f"fuzz-{name}", seed, skip) as machine:
        text = machine.run(f"--seed {seed} --seconds {seconds}", seconds + 120)
        answer = machine.guest.qmp.command("x-query-s390-cmma")
        assert answer["discard-faults"], "the guest met no discarded page: it shows nothing"
        assert not answer["violations"], f"violations: {answer['violations']}"
        counts = f"discards={answer['discards']} faults={answer['discard-faults']}"
        return f"{text.splitlines()[-1]} {counts}"


def explained(name, seed, seconds, shrinking=SHRINKING):
    """The same; a failure comes with a list."""
    try:
        return one(name, seed, seconds)
    except Failed as failed:
        text = explain(f"fuzz-{name}", SETTINGS[name], failed, seconds=shrinking)[0]
        raise GuestError(text) from None


def several(report, names, seed, seconds, shrinking=SHRINKING):
    """Two at a time."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        results = {name: pool.submit(explained, name, seed, seconds, shrinking) for name in names}
        for name, result in results.items():
            with report.test(f"fuzz: {name}, seed {seed}, {seconds} s"):
                print(f"#   {name}: {result.result()}", flush=True)


def fails(name, hook, seed, seconds):
    """With a hook off it must fail: how it does, and how soon."""
    began = time.monotonic()
    try:
        one(name, seed, seconds, hook)
    except Failed as failed:
        return failed, time.monotonic() - began
    raise AssertionError(f"without {hook} nothing fails in {seconds} s")


def control(name, hook, seed, seconds, shrinking):
    """The same, and how many operations are enough."""
    failed, found = fails(name, hook, seed, seconds)
    text, left, count = explain(f"fuzz-control-{name}", SETTINGS[name], failed, hook, shrinking)
    return found, left, count, text


def everything(report):
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(1, 1 << 31))
    print(f"# repeat it with FUZZ_SEED={seed} tests/check fuzz")
    several(report, SHORT, seed, SECONDS)
    name, hook = CONTROL
    with report.test(f"fuzz: it is noticed when the hook {hook} is off"):
        print(f"#   after {fails(name, hook, 1, 4 * SECONDS)[1]:.1f} s")


def small_list(report):
    """For tests/check-controls: what fails is repeated with fewer operations."""
    name, hook = LATER
    with report.test(f"fuzz: the list that fails when the hook {hook} is off is made small"):
        found, left, count, text = control(name, hook, 1, 10 * SECONDS, SHRINKING)
        print(f"#   after {found:.1f} s; {left} of {count} operations are enough")
        # How far it comes in that time depends on the machine.
        assert left and left < count, text
