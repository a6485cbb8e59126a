"""The host that QEMU is: what it refuses, mutants of it, and what its discards cost."""

import contextlib
import hashlib
import os
import subprocess
import tempfile
import time

from harness import place
from harness.mutants import fits
from harness.qmp import Qmp, QmpError

def mutants(report):
    """They fit; tests/check-host builds and runs them."""
    stale = fits()
    report.result(not stale, "check-host: each mutant applies", "\n".join(stale))


def cost(report):
    """Four times the blocks cost about four times as much, in any case no 16, and one stop."""
    result = subprocess.run([os.path.join(place.ROOT, "tests/bench-host"), "--quick"],
                            text=True, check=False, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for line in result.stdout.splitlines():
        print(f"#   {line}")
    report.result(result.returncode == 0, "host: the cost of a discard grows linearly")


NO_DISCARD = "Guest memory of this kind cannot be discarded"
NO_PAGING = "Guest memory of this kind cannot be paged out"
FILE = "memory-backend-file,id=ram,size=64M,mem-path={tmp}/ram,share="
BACKENDS = {
    "private memory": "memory-backend-ram,id=ram,size=64M",
    "shared memory": "memory-backend-memfd,id=ram,size=64M,share=on",
    "a private file": FILE + "off",
    "a shared file": FILE + "on",
    "huge pages": "memory-backend-memfd,id=ram,size=64M,hugetlb=on,share=off",
}
# Properties, and what QEMU says of them when its memory must stay where it is.
AT_START = [
    (["policy=always"], NO_DISCARD),
    (["policy=random"], NO_DISCARD),
    (["guest-discard=on"], NO_DISCARD),
    (["page-file={tmp}/page"], NO_PAGING),
    (["page-file={tmp}/page", "poison=on"], NO_PAGING),
]
WHATEVER_THE_MEMORY = [
    (["policy=kvm", "poison=on"], "Policy 'kvm' has no"),
    (["policy=kvm", "guest-discard=on"], "Policy 'kvm' has no"),
    (["policy=kvm", "strict-unused=on"], "Policy 'kvm' has no"),
    (["page-file={tmp}/old-file"], "File exists"),
    (["page-file={tmp}/no/such/directory"], "No such file or directory"),
    (["percent=101"], "between 0 and 100"),
]


def start(backend, properties, what=None):
    """Start QEMU, stopped; what it says, or what the discard command says if it runs."""
    with tempfile.TemporaryDirectory(prefix="page_hva.") as tmp:
        path = os.path.join(tmp, "qmp")
        with open(os.path.join(tmp, "old-file"), "w", encoding="ascii") as file:
            file.write("precious")
        command = [place.QEMU, "-nodefaults", "-display", "none", "-accel", "tcg", "-S",
                   "-m", "64M", "-object", BACKENDS[backend].format(tmp=tmp),
                   "-M", "s390-ccw-virtio,memory-backend=ram",
                   "-qmp", f"unix:{path},server=on,wait=off"]
        for value in properties:
            command += ["-global", "s390-cmma." + value.format(tmp=tmp)]
        with subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                while process.poll() is None and not os.path.exists(path):
                    time.sleep(0.02)
                if process.poll() is None:
                    qmp = Qmp(path, process=process)
                    if what:
                        qmp.command("x-s390-cmma-discard", what=what)
                    return "runs"
                return process.stdout.read()
            except (QmpError, OSError) as error:
                # A QEMU that refuses to start may get as far as its monitor.
                try:
                    process.wait(2)
                except subprocess.TimeoutExpired:
                    return str(error)
                return process.stdout.read()
            finally:
                process.kill()


def memory(report):
    """Memory that must stay is poisoned only, or refused with a clear error."""
    for backend in BACKENDS:
        name = f"host: {backend}: "
        plain = start(backend, [])
        if plain != "runs" and backend == "huge pages":
            report.skipped(name + "refusals", "this machine has none: " + plain.strip())
            continue
        fixed = backend != "private memory"
        for properties, refusal in AT_START:
            said = start(backend, properties)
            if fixed:
                report.result(refusal in said, name + f"{' '.join(properties)} is refused"
                              .format(tmp="TMP"), said)
            else:
                report.result(said == "runs", name + f"{' '.join(properties)} is accepted"
                              .format(tmp="TMP"), said)
        said = start(backend, [], "volatile")
        report.result(NO_DISCARD in said if fixed else said == "runs",
                      name + ("a discard is refused" if fixed else "a discard is done"), said)
        said = start(backend, ["poison=on", "policy=always"], "volatile")
        report.result(said == "runs", name + "poison is accepted", said)
    for properties, refusal in WHATEVER_THE_MEMORY:
        said = start("private memory", properties)
        report.result(refusal in said, f"host: {' '.join(properties)} is refused"
                      .format(tmp="TMP"), said)
    for properties, what, refusal in (
            ([], "evict", "without a page file"),
            ([], "age", "only with s390-cmma.policy=kvm"),
            (["policy=kvm"], "volatile", "KVM does not take blocks")):
        said = start("private memory", properties, what)
        report.result(refusal in said, f"host: {' '.join(properties) or 'no property'}: "
                      f"discard {what} is refused", said)


# What a property or a command makes of nonsense: words of the error, or what it returns.
PROPERTIES = [
    ("policy=nonsense", "'nonsense'"), ("policy=", "''"), ("seed=much", "seed"),
    ("percent=-1", "percent"), ("percent=256", "percent"), ("poison=maybe", "poison"),
    ("guest-discard=2", "guest-discard"), ("strict-unused=never", "'never'"),
    ("page-file={tmp}", "File exists"), ("page-file=", "No such file or directory"),
    ("pressure-low=-1", "pressure-low"), ("pressure-high=1Q", "pressure-high"),
    ("pressure-low=65M", "'pressure-high'"), ("pressure-stall=-1", "pressure-stall"),
    ("no-such=1", "no-such"),
]
COMMANDS = [
    ("x-s390-cmma-discard", {}, "'what' is missing"),
    ("x-s390-cmma-discard", {"what": "nonsense"}, "'nonsense'"),
    ("x-s390-cmma-discard", {"what": 1}, "string"),
    # QEMU takes a negative number for a very large one, wherever it wants a uint64.
    ("x-s390-cmma-discard", {"what": "volatile", "count": -1}, {"discarded": 0}),
    ("x-s390-cmma-discard", {"what": "volatile", "count": "many"}, "uint64"),
    ("x-s390-cmma-discard", {"what": "volatile", "limit-us": 1 << 32}, "uint32"),
    ("x-s390-cmma-discard", {"what": "volatile", "more": 1}, "'more' is unexpected"),
    ("x-s390-cmma-discard", {"what": "volatile", "count": 0}, {"discarded": 0}),
    ("x-s390-cmma-discard", {"what": "volatile", "limit-us": 0}, {"discarded": 0}),
    ("x-query-s390-cmma", {"map": "yes"}, "boolean"),
    ("human-monitor-command", {"command-line": "cmma_discard"}, "string expected"),
    ("human-monitor-command", {"command-line": "cmma_discard everything"}, "value: everything"),
    ("human-monitor-command", {"command-line": "cmma_discard volatile -1"}, "negative"),
    ("human-monitor-command", {"command-line": "cmma_discard volatile many"}, "invalid"),
    ("human-monitor-command", {"command-line": "cmma_discard volatile"}, "0 blocks"),
]


@contextlib.contextmanager
def stopped(*properties, what="policy=none"):
    """QEMU with 64 MiB, stopped: its monitor."""
    with tempfile.TemporaryDirectory(prefix="page_hva.") as tmp:
        path = os.path.join(tmp, "qmp")
        command = [place.QEMU, "-nodefaults", "-display", "none", "-accel", "tcg", "-S",
                   "-m", "64M", "-qmp", f"unix:{path},server=on,wait=off"]
        for value in (what, *properties):
            command += ["-global", "s390-cmma." + value]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                # It may have a monitor for a moment before it refuses to start.
                qmp = None
                while not qmp:
                    if process.poll() is not None:
                        raise QmpError(process.stderr.read())
                    with contextlib.suppress(OSError, QmpError):
                        qmp = Qmp(path, 1)
                qmp.sock.settimeout(60)
                yield qmp
            finally:
                process.kill()


def memory_of(qmp, tmp):
    """A sum of all of guest memory."""
    path = os.path.join(tmp, "memory")
    qmp.command("pmemsave", **{"val": 0, "size": 64 << 20, "filename": path})
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def nonsense(report):
    """Bad input has a clear error and no effect, and what goes wrong can be done again."""
    for text, refusal in PROPERTIES:
        said = start("private memory", [text])
        report.result(refusal in said, f"input: {text} is refused".format(tmp="TMP"), said)

    with stopped() as qmp:
        before = qmp.command("x-query-s390-cmma")
        for name, arguments, expected in COMMANDS:
            try:
                said = qmp.command(name, **arguments)
            except QmpError as error:
                said = str(error)
            good = (expected.items() <= said.items() if isinstance(expected, dict)
                    else expected in said)
            words = " ".join(f"{key}={value}" for key, value in arguments.items())
            report.result(good, f"input: {name} {words}: {expected}", f"{said}")
        after = qmp.command("x-query-s390-cmma")
        # Four commands were right, and found nothing.
        before["stops"] += 4
        report.result(before == after, "input: none of these changed anything", f"{after}")


def full(report):
    """A page file on a disk that fills up, and on one that can not be written."""
    if os.geteuid():
        report.skipped("input: a page file on a full disk", "needs root, to mount one")
        return
    with tempfile.TemporaryDirectory(prefix="page_hva.") as tmp:
        disk = os.path.join(tmp, "disk")
        os.mkdir(disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk], check=True)
        try:
            with stopped(f"page-file={disk}/pages") as qmp:
                # The firmware is in it; the rest is zero.
                before = memory_of(qmp, tmp)
                words = []
                for _ in range(2):
                    try:
                        qmp.command("x-s390-cmma-discard", what="evict")
                        words.append("nothing")
                    except QmpError as error:
                        words.append(str(error))
                report.result(all("No space left on device" in said for said in words),
                              "input: evict to a full disk is an error, twice", f"{words}")
                report.result(memory_of(qmp, tmp) == before,
                              "input: a full disk loses nothing")
                subprocess.run(["mount", "-o", "remount,size=80m", disk], check=True)
                qmp.command("x-s390-cmma-discard", what="evict")
                left = qmp.command("x-query-s390-cmma")["pages"]
                report.result(left["sr"] == 0 and left["sp"] > 0,
                              "input: with room again, the same command goes on", f"{left}")
                report.result(memory_of(qmp, tmp) == before,
                              "input: and nothing is lost then")
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            try:
                with stopped(f"page-file={disk}/more"):
                    said = "it runs"
            except QmpError as error:
                said = str(error)
            report.result("Read-only file system" in said,
                          "input: a page file that can not be made is refused", said)
        finally:
            subprocess.run(["umount", disk], check=True)


def bad_input(report):
    nonsense(report)
    full(report)
