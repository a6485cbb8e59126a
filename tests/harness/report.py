"""Results as TAP lines, and their totals."""

import contextlib
import re
import subprocess
import time

from .guest import GuestError
from .qmp import QmpError


class Broken(Exception):
    """A step cannot go on; the text says why."""


class Report:
    def __init__(self):
        self.count = {"passed": 0, "failed": 0, "skipped": 0}
        self.began = time.monotonic()

    def _line(self, kind, words, name, more=""):
        self.count[kind] += 1
        now = time.monotonic()
        print(f"{words} {sum(self.count.values())} - {name} "
              f"({now - self.began:.1f} s){more}", flush=True)
        self.began = now

    def passed(self, name):
        self._line("passed", "ok", name)

    def failed(self, name, why=""):
        self._line("failed", "not ok", name)
        for line in why.strip().splitlines():
            print(f"#   {line}", flush=True)

    def skipped(self, name, why):
        self._line("skipped", "ok", name, f" # SKIP {why}")

    def result(self, good, name, why=""):
        if good:
            self.passed(name)
        else:
            self.failed(name, why)

    @contextlib.contextmanager
    def test(self, name):
        """A test that passes unless its body raises."""
        self.began = time.monotonic()
        try:
            yield
        except (GuestError, QmpError, AssertionError, OSError) as error:
            self.failed(name, f"{error}")
        else:
            self.passed(name)

    def tap(self, name, command):
        """Run a program that prints TAP; each of its lines is a result here."""
        self.began = time.monotonic()
        results = 0
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE,
                              stdin=subprocess.DEVNULL) as process:
            for line in process.stdout:
                match = re.match(r"(not )?ok\b(?: \d+)?(?: -)? ?(.*)", line)
                if not match:
                    if not re.match(r"\d+\.\.\d+$|TAP version", line):
                        print("#  ", line.strip("# \n"), flush=True)
                    continue
                results += 1
                text, is_skip, skip = match[2].partition("# SKIP")
                text = f"{name}: {text.strip()}" if name else text.strip()
                timed = re.search(r" \((\d+\.\d) s\)$", text)
                if timed:       # it was run, and timed, before
                    self.began = time.monotonic() - float(timed[1])
                    text = text[:timed.start()]
                if is_skip:
                    self.skipped(text, skip.strip())
                else:
                    self.result(not match[1], text)
        if process.returncode and not self.count["failed"]:
            self.failed(f"{command[0]} ended with status {process.returncode}")
        if not results:
            self.failed(f"{command[0]} printed no result")

    def good(self):
        return self.count["passed"] > 0 and not self.count["failed"]

    def totals(self):
        return ", ".join(f"{count} {kind}" for kind, count in self.count.items())
