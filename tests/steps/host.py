"""The host that QEMU is: what it refuses, mutants of it, and what its discards cost."""

import os
import subprocess
import tempfile
import time

from harness import place
from harness.mutants import Host
from harness.qmp import Qmp, QmpError

# Quick, and noticed by tests with one CPU; tests/check-host runs all of them.
MUTANTS = ["essa-goes-on", "code-stays"]


def mutants(report):
    # The step "bare" has shown that the unchanged QEMU passes.
    Host().check(report, MUTANTS, unchanged_too=False)


def cost(report):
    """Four times the blocks cost about four times as much, and one stop."""
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
                    qmp = Qmp(path)
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
