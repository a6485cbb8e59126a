"""Watches the guest's console: some lines are failures wherever they come up."""

import re

FAILURES = re.compile(
    r"\bWARNING: |\bBUG: |\bOops\b|Kernel panic|Unable to handle kernel|"
    r"cut here|blocked for more than|\bstall(s|ed)?\b|soft lockup|hard LOCKUP|"
    r"INFO: (possible|trying|suspicious|task)|DEBUG_LOCKS_WARN|"
    r"Out of memory|oom-kill|EXT4-fs error|I/O error|\bnot ok\b|page_hva: .*can not|"
    r"list_(add|del) corruption|Bad page|init: /dev/vd")

# Lines that only repeat words given to the kernel.
HARMLESS = re.compile(r"Kernel command line|Unknown kernel command line")


class Console:
    """The console log of one guest, read as it grows."""

    def __init__(self, path, allow=None):
        self.path = path
        self.allow = re.compile(allow) if allow else None
        self.file = None
        self.rest = ""
        self.failure = None

    def poll(self):
        """Read what is new; return the first failing line so far, or None."""
        if self.file is None:
            try:
                self.file = open(self.path, encoding="utf-8", errors="replace")
            except FileNotFoundError:
                return None
        *lines, self.rest = (self.rest + self.file.read()).split("\n")
        for line in lines:
            if self.failure is None and self._fails(line):
                self.failure = line.strip()
        return self.failure

    def _fails(self, line):
        return (FAILURES.search(line) and not HARMLESS.search(line)
                and not (self.allow and self.allow.search(line)))

    def text(self):
        try:
            with open(self.path, encoding="utf-8", errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""
