"""A machine that has nothing yet: bare Debians, and a user there who is not root."""

import os
import re
import signal
import subprocess
import tempfile

from harness import place

SUITES = ["bookworm", "trixie"]
ENTER = os.path.join(place.ROOT, "scripts/fresh-debian")
COMMANDS = ["run", "check"]
# What scripts/install looks for where there is no apt, and some names that it has to find.
ELSEWHERE = {
    "dnf": ("sudo dnf install ", ["dtc", "gcc-c++", "gcc-s390x-linux-gnu", "zlib-devel"]),
    "pacman": ("sudo pacman -S --needed ", ["dtc", "base-devel", "qemu-system-s390x", "zlib"]),
    "zypper": ("sudo zypper install ", ["dtc", "gcc-c++", "squashfs", "zlib-devel"]),
    None: ("install ", ["device-tree-compiler", "build-essential", "zlib1g-dev"]),
}


class Inside:
    """A command in one of these Debians, with its log; it ends when the with statement does."""

    def __init__(self, suite, *words, log):
        self.command = [ENTER, suite, *words]
        self.log = os.path.join(place.LOGS, f"fresh-{suite}-{log}.log")

    def __enter__(self):
        self.process = subprocess.Popen(self.command, text=True, errors="replace",
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            # All of it ends with this process, which may be root's.
            kill = ["kill", "-KILL", str(self.process.pid)]
            subprocess.run(kill if os.geteuid() == 0 else ["sudo", "-n", *kill], check=False)
        self.process.wait()

    def lines(self):
        """Its lines, as they come."""
        with open(self.log, "w", encoding="utf-8") as file:
            for line in self.process.stdout:
                file.write(line)
                file.flush()
                yield line.rstrip("\n")


def inside(suite, *words, log, status=0, show=True):
    """A command, whose lines are shown while it runs; it has to end with that status."""
    with Inside(suite, *words, log=log) as command:
        said = []
        for line in command.lines():
            said.append(line)
            if show or os.environ.get("V", "0") != "0":
                print(f"#   {line}", flush=True)
    assert command.process.returncode == status, (
        "\n".join([f"{' '.join(words)} ended with status {command.process.returncode} "
                   f"(log: {command.log})", *said[-10:]]))
    return said


def everything(report, suite, commands):
    """Whether all of it passed, and the Debian is no more needed."""
    report.step = suite
    before = report.count["failed"]
    with report.test(f"{suite}: a bare Debian, a user, and a clone"):
        inside(suite, "new", log="new")
    if report.count["failed"] == before:
        packages(report, suite)
    for command in commands:
        if report.count["failed"] != before:
            report.skipped(f"{suite}: make {command}", "what it needs has failed")
        elif command == "check":
            check(report, suite)
        else:
            with report.test(f"{suite}: make {command}, not as root"):
                inside(suite, "user", "make", command, log=command)
    return report.count["failed"] == before


def packages(report, suite):
    with report.test(f"{suite}: who may not install packages is told which are missing"):
        said = inside(suite, "user", "scripts/install", log="told", status=1)
        told = re.search(r"sudo (apt-get install .*)", said[-1])
        assert told, f"no command is named: {said[-1:]}"
    with report.test(f"{suite}: apt knows all of them"):
        inside(suite, "root", "apt-get", "update", log="update", show=False)
        inside(suite, "root", *told[1].split(), "--simulate", log="simulate",
               show=False)
    with report.test(f"{suite}: root installs them in the user's clone"):
        inside(suite, "root", "scripts/install", log="install")
    with report.test(f"{suite}: after that, make install is content"):
        said = inside(suite, "user", "make", "install", log="installed")
        assert not said, "\n".join(said)


def check(report, suite):
    """The results of make check there are results here."""
    failed = report.count["failed"]
    with Inside(suite, "user", "make", "check", log="check") as command:
        results = report.lines(f"{suite}: make check", command.lines())
    good = command.process.returncode == 0 and results > 0
    if not good and report.count["failed"] == failed:
        report.failed(f"{suite}: make check, {results} results",
                      f"status {command.process.returncode} (log: {command.log})")


def remove(suite):
    subprocess.run([ENTER, suite, "remove"], check=True)


def words(name):
    """The first words of lines of a list in scripts/."""
    with open(os.path.join(place.ROOT, "scripts", name), encoding="utf-8") as file:
        return {line.split()[0] for line in file if line.strip() and line[0] != "#"}


def elsewhere(report):
    """Without apt, the names that packages have in other distributions."""
    with report.test("elsewhere: each name that is said is of a package that is needed"):
        known, needed = words("names-elsewhere"), words("packages")
        assert known <= needed, f"not in scripts/packages: {', '.join(sorted(known - needed))}"
    for manager, (command, names) in ELSEWHERE.items():
        with (report.test(f"elsewhere: without apt, with {manager or 'nothing that is known'}: "
                          "the packages are named"),
              tempfile.TemporaryDirectory(prefix="page_hva.") as path):
            for directory in ("/bin", "/usr/bin"):
                for name in os.listdir(directory):
                    link = os.path.join(path, name)
                    if not os.path.lexists(link) and name.split("-")[0] not in (
                            "apt", "dpkg", *filter(None, ELSEWHERE)):
                        os.symlink(os.path.join(directory, name), link)
            if manager:
                os.symlink("/bin/false", os.path.join(path, manager))
            result = subprocess.run([os.path.join(place.ROOT, "scripts/install")], text=True,
                                    env={**os.environ, "PATH": path}, check=False,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT)
            said = result.stdout
            assert result.returncode == 1, f"status {result.returncode}: {said}"
            line = next((line for line in said.splitlines() if line.startswith(command)), None)
            assert line, f"no line begins with '{command}': {said}"
            missing = {*names, "bison"} - set(line[len(command):].split())
            assert not missing, f"{', '.join(sorted(missing))} not in: {line}"
            assert "Containerfile" in said, said


def ends_well():
    """What was started is ended when this is told to end."""
    def end(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
