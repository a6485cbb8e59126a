"""Test programs that report by themselves."""

import os
import subprocess

from harness import place

TESTS = os.path.join(place.ROOT, "tests")


def model(report):
    report.tap("model", [os.path.join(TESTS, "model/run")])


def bare(report):
    report.tap("bare metal", [os.path.join(TESTS, "bare/run"), "--qemu", place.QEMU])


def qtest(report):
    """The device's own test in QEMU's suite; all of the suite: make check-qtest."""
    report.tap("qtest", [os.path.join(TESTS, "check-qtest"), "s390-cmma-test"])


def hostile(report):
    """Always the same seeds, and no sanitizers: make fuzz-host has others, and those."""
    report.tap("", [os.path.join(TESTS, "fuzz-host"), "--no-build", "--qemu", place.QEMU,
                    "--seconds", "60", "--seed", "1"])


def story(report):
    """The main job: its own exit status says whether all of it held."""
    log = os.path.join(place.LOGS, "story.txt")
    with open(log, "w", encoding="utf-8") as file:
        result = subprocess.run([os.path.join(TESTS, "story")], stdout=file,
                                stderr=subprocess.STDOUT, check=False)
    with open(log, encoding="utf-8") as file:
        text = file.read()
    print("\n".join(f"#   {line}" for line in text.splitlines()))
    report.result(result.returncode == 0, "story: make run", f"see {log}")
