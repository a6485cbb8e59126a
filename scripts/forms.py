"""The forms that a new file has from patch to patch.

The repository holds each new file in its final form, and only there.  The series names
the patch that introduces it; later patches carry ordinary hunks against it.  Its form at
a patch is the final form with the hunks of all later patches taken back, last first.
That forward application gives the final form again is checked.

A final form that somebody edits is settled by settle(), which compose calls: each changed
line goes to the patch that brought the lines which it replaces, or both lines
that it is inserted between, and hunks of later patches are written anew.  The form
before the edit is the one of the last settle() or of HEAD.  What cannot be placed is
refused, unless it is said which patch is meant.
"""

import os
import re
import subprocess
import tempfile

from project import BUILD, ROOT, Failure, read, same, write

# The configuration of whoever calls git must not change what it writes.
PLAIN = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
ATTRIBUTES = "*.c diff=cpp\n*.h diff=cpp\n"     # as in Linux; they name functions
DIFF = ["diff", "--no-color", "--no-ext-diff", "--no-renames", "--diff-algorithm=myers"]


class Line(str):
    """A line of a form; the same object in all forms from that of its owner on."""

    owner = 0


class Hunk:
    def __init__(self, head):
        self.head = head.strip()
        numbers = re.match(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", head)
        self.old, self.olds, self.new, self.news = (
            1 if n is None else int(n) for n in numbers.groups())
        self.lines = []                         # pairs of sign and text

    def side(self, reverse):
        """Where it is wanted, and what is to be there."""
        start, count, gone = ((self.new, self.news, "-") if reverse else
                              (self.old, self.olds, "+"))
        return (start - (count > 0),
                [text for sign, text in self.lines if sign != gone])

    def key(self):
        return self.old, self.new, self.lines


def lines_of(text):
    return [Line(line) for line in re.findall(r"[^\n]*\n|[^\n]+", text)]


def hunks_of(section):
    """The hunks of one file's part of a diff."""
    hunks = []
    olds = news = 0
    for line in lines_of(section):
        if olds or news:
            sign, text = (line[0], line[1:]) if line != "\n" else (" ", line)
            hunks[-1].lines.append((sign, text))
            olds -= sign != "+"
            news -= sign != "-"
        elif line.startswith("@@ "):
            hunks.append(Hunk(line))
            olds, news = hunks[-1].olds, hunks[-1].news
        elif line.startswith("\\") and hunks:   # No newline at end of file
            sign, text = hunks[-1].lines[-1]
            hunks[-1].lines[-1] = sign, text.rstrip("\n")
    return hunks


class Mismatch(Exception):
    """Hunk that does not fit."""


def patched(lines, hunks, reverse=False, owner=0):
    """The lines with hunks applied (or taken back), and whether their numbers were right."""
    result, at, offset, exact = [], 0, 0, True
    for hunk in hunks:
        start, wanted = hunk.side(reverse)
        fits = [p for p in range(at, len(lines) - len(wanted) + 1)
                if lines[p:p + len(wanted)] == wanted]
        if not fits or not wanted and start + offset not in fits:
            raise Mismatch(hunk)
        place = min(fits, key=lambda p: abs(p - start - offset))
        offset, exact = place - start, exact and place == start
        result += lines[at:place]
        at = place
        for sign, text in hunk.lines:
            if sign == " ":
                result.append(lines[at])
            elif (sign == "+") != reverse:
                result.append(Line(text))
                result[-1].owner = owner
            at += sign == " " or (sign == "+") == reverse
    return result + lines[at:], exact


def difference(path, before, after, context=3):
    """What git says is the difference of two texts of a file, or nothing."""
    with tempfile.TemporaryDirectory() as directory:
        attributes = os.path.join(directory, "attributes")
        write(attributes, ATTRIBUTES)
        for side, text in (("a", before), ("b", after)):
            write(os.path.join(directory, side, path), text)
        result = subprocess.run(
            ["git", "-c", f"core.attributesFile={attributes}", *DIFF, "--no-index",
             "--no-prefix", f"-U{context}", f"a/{path}", f"b/{path}"], cwd=directory,
            env=dict(os.environ, GIT_CEILING_DIRECTORIES=directory, **PLAIN),
            text=True, encoding="utf-8", stdout=subprocess.PIPE, check=False)
    if result.returncode > 1:
        raise Failure(f"git diff of two forms of {path} failed")
    return re.sub(r"^index .*\n", "", result.stdout, count=1, flags=re.MULTILINE)


class History:
    """One new file: who introduces it, and who changes it later."""

    def __init__(self, path, entries, also=None):
        self.path = path
        entered = next(i for i, entry in enumerate(entries) if path in entry.new)
        self.entries = entries[entered:entered + 1] + [
            entry for entry in entries[entered + 1:]
            if path in entry.later or entry.name == also]
        self.root = self.entries[0].new[path]
        self.hunks = [hunks_of(entry.later.get(path, "")) for entry in self.entries[1:]]

    def forms(self, final):
        """The form at each of the entries, and whether all numbers were right."""
        forms, exact = [lines_of(final)], True
        for entry, hunks in reversed(list(zip(self.entries[1:], self.hunks))):
            try:
                form, good = patched(forms[0], hunks, reverse=True)
            except Mismatch as mismatch:
                raise Failure(
                    f"{self.ours()} has not got the lines of {entry.name}, hunk "
                    f"{mismatch.args[0].head}") from None
            exact = exact and good
            forms.insert(0, form)
        first = forms[0]
        forms = [first]
        for number, (entry, hunks) in enumerate(zip(self.entries[1:], self.hunks), 1):
            try:
                form, good = patched(forms[-1], hunks, owner=number)
            except Mismatch as mismatch:
                raise Failure(f"{entry.name}, hunk {mismatch.args[0].head}, of "
                              f"{self.path} can be taken back but not applied") from None
            exact = exact and good
            forms.append(form)
        if "".join(forms[-1]) != final:
            raise Failure(f"the patches do not lead to {self.ours()}: a hunk fits in more "
                          "than one place")
        return forms, exact

    def ours(self):
        return os.path.relpath(self.root, ROOT)

    def final(self):
        return self.entries[0].final(self.path)

    def bases(self, memory):
        """Final forms of before an edit that may fit the patches."""
        yield read(os.path.join(memory, self.path))         # the final form itself
        head = subprocess.run(["git", "-C", ROOT, "show", f"HEAD:{self.ours()}"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=False)
        try:
            yield (self.entries[0].final(self.path, head.stdout.decode())
                   if not head.returncode else None)
        except Failure:
            yield None

    def base(self, memory):
        """The forms before an edit, or None."""
        for final in self.bases(memory):
            if final is not None:
                try:
                    forms, exact = self.forms(final)
                except Failure:
                    continue
                if exact:
                    return forms
        return None

    def place(self, forms, final, into=None):
        """Change forms so that the last is final; the entries that the changes are of."""
        placed = set()
        edits = hunks_of(difference(self.path, "".join(forms[-1]), final, 0))
        for edit in reversed(edits):
            start, old = edit.side(False)
            whole = forms[-1]
            removed = whole[start:start + len(old)]
            around = [whole[start - 1] if start else None,
                      whole[start] if start < len(whole) else None]
            owners = {line.owner for line in removed or around if line is not None}
            owner = into if into is not None else max(owners, default=0)
            if into is None and len(owners) > 1:
                self.refuse(edit, sorted(owners))
            added = [Line(text) for sign, text in edit.lines if sign == "+"]
            for line in added:
                line.owner = owner
            for number in range(owner, len(forms)):
                self.exchange(forms, number, removed, around, added, edit)
            placed.add(owner)
        if "".join(forms[-1]) != final:
            raise Failure(f"{self.ours()}: a change got lost; this is a defect of "
                          "scripts/forms.py")
        return [self.entries[number].name for number in sorted(placed)]

    def exchange(self, forms, number, removed, around, added, edit):
        form = forms[number]
        anchor = removed[0] if removed else around[0]
        at = next((i for i, line in enumerate(form) if line is anchor), None)
        if at is None:
            if anchor is not None:
                self.refuse(edit, [number, anchor.owner])
            at = 0
        elif not removed:
            at += 1
        there = form[at:at + len(removed)]
        after = form[at] if at < len(form) else None
        if (any(a is not b for a, b in zip(there, removed)) or len(there) < len(removed)
                or not removed and after is not around[1]):
            self.refuse(edit, [number, number + 1])
        forms[number] = [*form[:at], *added, *form[at + len(removed):]]

    def refuse(self, edit, owners):
        names = [self.entries[owner].name for owner in owners
                 if owner < len(self.entries)]
        raise Failure(
            f"{self.ours()}, line {edit.new}: cannot say whether this change belongs to "
            f"{' or '.join(dict.fromkeys(names))}:\n"
            + "".join(sign + text for sign, text in edit.lines[:8])
            + f"Say it with 'scripts/export --refresh {self.entries[0].project} --into "
            f"{names[-1]}', or make the change in a dev tree (make dev-{self.entries[0].project})")


def histories(entries, also=None):
    return [History(path, entries, also) for entry in entries for path in entry.new]


def fill(entries):
    """Give each entry the forms of new files that it makes: entry.forms[path]."""
    for history in histories(entries):
        final = history.final()
        try:
            forms, _ = history.forms(final)
        except Failure as failure:
            raise Failure(f"{failure}.\nIf the file was edited, scripts/compose places "
                          "the change or says why not") from None
        for entry, form in zip(history.entries, forms):
            entry.forms[history.path] = "".join(form)


def settle(project, into=None):
    """Place what was edited in the final forms; write patches anew as it is needed."""
    entries = project.entries(checked=False)
    memory = os.path.join(BUILD, "compose", f"{project.name}-final")
    if into and into not in [entry.name for entry in entries]:
        raise Failure(f"{project.series} names no {into}")
    changes, stale = [], {}
    for history in histories(entries, into):
        names = [entry.name for entry in history.entries]
        final, refused, exact, forms = history.final(), None, False, None
        try:
            forms, exact = history.forms(final)
        except Failure as failure:
            refused = failure
        if not exact or into in names:
            base = history.base(memory)
            if base:
                number = names.index(into) if into in names else None
                placed = history.place(base, final, number)
                forms = base
                if placed:
                    changes.append(f"{history.ours()}: changes placed in "
                                   f"{', '.join(placed)}")
            elif refused:
                raise Failure(f"{refused}, and no form of before is known to which the "
                              "patches apply:\neither was edited by hand. Change both "
                              "in a dev tree, from a state of the repository that fits")
        for number, entry in enumerate(history.entries[1:], 1):
            section = difference(history.path, "".join(forms[number - 1]),
                                 "".join(forms[number]))
            if ([h.key() for h in hunks_of(section)]
                    != [h.key() for h in history.hunks[number - 1]]
                    # Of another series, what is the same as in the default is not written.
                    and not (entry.shared and same(section, entry.later[history.path]))):
                stale.setdefault(entry, {})[history.path] = section
    for line in changes:
        print(line)
    for entry, sections in stale.items():
        entry.rewrite(sections)
        print(f"wrote {os.path.relpath(entry.path, ROOT)}")
    for history in histories(entries):
        write(os.path.join(memory, history.path), history.final())
