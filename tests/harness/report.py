"""Results as TAP lines, and their totals."""

import contextlib
import os
import re
import subprocess
import time
from typing import NamedTuple
from xml.etree import ElementTree

from . import place
from .guest import GuestError
from .qmp import QmpError


class Broken(Exception):
    """A step cannot go on; the text says why."""


class Result(NamedTuple):
    step: str
    name: str
    kind: str           # passed, failed or skipped
    seconds: float
    why: str            # of a failure or a skip


class Report:
    def __init__(self):
        self.count = {"passed": 0, "failed": 0, "skipped": 0}
        self.began = time.monotonic()
        self.step = "all"
        self.results = []
        self.said = []          # what a program said since its last result

    def _line(self, kind, words, name, why="", more=""):
        self.count[kind] += 1
        now = time.monotonic()
        why = "\n".join(self.said * (kind == "failed") + why.strip().splitlines())
        self.results.append(Result(self.step, name, kind, now - self.began, why))
        print(f"{words} {sum(self.count.values())} - {name} "
              f"({now - self.began:.1f} s){more}", flush=True)
        self.began = now
        self.said = []

    def passed(self, name):
        self._line("passed", "ok", name)

    def failed(self, name, why=""):
        self._line("failed", "not ok", name, why)
        for line in why.strip().splitlines():
            print(f"#   {line}", flush=True)

    def skipped(self, name, why):
        self._line("skipped", "ok", name, why, f" # SKIP {why}")

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
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE,
                              stdin=subprocess.DEVNULL) as process:
            results = self.lines(name, process.stdout)
        if process.returncode and not self.count["failed"]:
            self.failed(f"{command[0]} ended with status {process.returncode}")
        if not results:
            self.failed(f"{command[0]} printed no result")

    def lines(self, name, lines):
        """Each result among lines of TAP is one here; returns how many there are."""
        self.began = time.monotonic()
        results = 0
        for line in lines:
            match = re.match(r"(not )?ok\b(?: \d+)?(?: -)? ?(.*)", line)
            if not match:
                if not re.match(r"\d+\.\.\d+$|TAP version", line):
                    self.said.append(line.strip("# \n"))
                    print("#  ", self.said[-1], flush=True)
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
        return results

    def write(self, name):
        """All results as build/results/NAME.xml for JUnit, and as NAME.ktap."""
        directory = os.path.join(place.BUILD, "results")
        os.makedirs(directory, exist_ok=True)
        steps = {}
        for result in self.results:
            steps.setdefault(result.step, []).append(result)
        suites = ElementTree.Element("testsuites", name=name)
        ktap = ["KTAP version 1", f"1..{len(steps)}"]
        for number, (step, results) in enumerate(steps.items(), 1):
            failures = sum(result.kind == "failed" for result in results)
            suite = ElementTree.SubElement(
                suites, "testsuite", name=step, tests=str(len(results)),
                failures=str(failures),
                skipped=str(sum(result.kind == "skipped" for result in results)),
                time=f"{sum(result.seconds for result in results):.1f}")
            ktap += ["    KTAP version 1", f"    # Subtest: {step}", f"    1..{len(results)}"]
            for index, result in enumerate(results, 1):
                case = ElementTree.SubElement(suite, "testcase", classname=step,
                                              name=result.name, time=f"{result.seconds:.1f}")
                # XML has no way to write control characters.
                why = re.sub(r"[^\n\t\x20-\ud7ff\ue000-\ufffd]", "?", result.why)
                if result.kind == "failed":
                    ElementTree.SubElement(case, "failure", message=why.split("\n")[0]).text = why
                elif result.kind == "skipped":
                    ElementTree.SubElement(case, "skipped", message=why)
                ktap += [f"    # {line}" for line in why.splitlines()
                         if result.kind == "failed"]
                ktap.append(f"    {'not ' * (result.kind == 'failed')}ok {index} {result.name}"
                            + f" # SKIP {why}" * (result.kind == "skipped"))
            ktap.append(f"{'not ' * bool(failures)}ok {number} {step}")
        ElementTree.indent(suites)
        ElementTree.ElementTree(suites).write(os.path.join(directory, name + ".xml"),
                                              encoding="utf-8", xml_declaration=True)
        with open(os.path.join(directory, name + ".ktap"), "w", encoding="utf-8") as file:
            file.write("\n".join(ktap) + "\n")

    def good(self):
        return self.count["passed"] > 0 and not self.count["failed"]

    def totals(self):
        return ", ".join(f"{count} {kind}" for kind, count in self.count.items())
