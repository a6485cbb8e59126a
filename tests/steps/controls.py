"""Negative controls: the tests notice what they are there for."""

import os

from harness import place
from harness.guest import Guest, GuestError
from steps import check_controls, stress

# Hooks that make folios stable, each noticed soon; all are in check-controls.
HOOKS = ["make_stable@__page_hva_lookup", "make_stable@follow_page_pte", "claim"]


def harness_notices(report):
    """The harness fails on a warning, a panic, a hang, a status and a lost guest."""
    trials = [
        ("a warning on the console", "echo 'WARNING: planted' >/dev/kmsg; sleep 2"),
        ("a failed KUnit case", "echo 'not ok 1 planted' >/dev/kmsg; sleep 2"),
        ("a panic", "echo c >/proc/sysrq-trigger; sleep 2"),
        ("a hang", "sleep 100"),
        ("a status", "exit 3"),
        ("a power-off", "poweroff -f; sleep 2"),
        ("a wrong byte", "cd /tmp; echo a >a; sha512sum a >s; echo b >a; "
                         "treesum read s"),
    ]
    for name, command in trials:
        try:
            with Guest(place.QEMU, place.KERNEL, place.INITRD,
                       log=os.path.join(place.LOGS, "harness.log")) as guest:
                guest.run(command, timeout=4)
        except GuestError:
            report.passed(f"harness: {name} is a failure")
        else:
            report.failed(f"harness: {name} is a failure", "it went unnoticed")


def hooks_are_needed(report):
    """Stress passes on the debug kernel, and the hooks that matter most are noticed."""
    with report.test("controls: stress passes with all hooks"):
        stress.one("always", 2, False, 1, name="control-all", seconds=10,
                   kernel=place.kernel("debug"), append="page_poison=on kunit.enable=0")
    check_controls.every_hook(report, *HOOKS)
