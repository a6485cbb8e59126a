"""Compares the machine code of two kernels, function by function."""

import difflib
import filecmp
import os
import re
import subprocess

from . import place

OBJDUMP = "s390x-linux-gnu-objdump"
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^ *[0-9a-f]+:\t[0-9a-f ]+\t(.*)$")
RELOCATION = re.compile(r"^\t+[0-9a-f]+: (R_390_\w+)\t(\S+)$")
# Code is what differs if it is these that differ; line numbers of BUG() and WARN() are in
# tables in other sections, and strings move.
IN_SECTION = re.compile(r"^(\.[\w.]*?)(?:\.\w+\.\d+)?[+-]0x[0-9a-f]+$")
TARGET = re.compile(r"\b[0-9a-f]+ <(.*)>")
NUMBERED = re.compile(r"\.\d+\b")
PADDING = re.compile(r"^(nopr?|bcr\t0|lgr\t%r0,%r0|jgnop|brcl\t0)\b")
LINKED = ("vmlinux", ".tmp", "built-in")


def functions(path):
    """{name: [instructions, without addresses]}"""
    text = subprocess.run([OBJDUMP, "-dr", path], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    found, code = {}, []
    for line in text.splitlines():
        if match := FUNCTION.match(line):
            code = found.setdefault(NUMBERED.sub("", match[1]), [])
        elif match := INSTRUCTION.match(line):
            code.append(NUMBERED.sub("", TARGET.sub(r"<\1>", match[1].strip())))
        elif match := RELOCATION.match(line):
            code[-1] = re.sub("<.*>", "", code[-1])
            symbol = IN_SECTION.sub(r"\1", match[2])
            code.append(f"  {match[1]} {NUMBERED.sub('', symbol)}")
    for code in found.values():
        while code and PADDING.match(code[-1]):
            code.pop()
    return found


def objects(directory):
    """Paths of what the compiler made, relative to the directory."""
    for where, _, names in os.walk(directory):
        for name in names:
            path = os.path.relpath(os.path.join(where, name), directory)
            if name.endswith(".o") and not name.startswith(LINKED) and \
                    not path.startswith(("arch/s390/boot/", "scripts/")):
                yield path


def differences(one, two):
    """Each function that differs: its name, and its code in one and in two."""
    before, after = functions(one), functions(two)
    for name in sorted({*before, *after}):
        old, new = before.get(name, []), after.get(name, [])
        if old != new:
            yield name, old, new


def anywhere(code):
    """Without where branches go, which is elsewhere after a line more."""
    return [re.sub(r"\+0x[0-9a-f]+>", ">", line) for line in code]


def changed(old, new):
    """How many lines differ."""
    matcher = difflib.SequenceMatcher(None, anywhere(old), anywhere(new), autojunk=False)
    return max(len(old), len(new)) - sum(block.size
                                         for block in matcher.get_matching_blocks())


def show(one, two, wanted=()):
    """Prints the functions that differ between two kernels; returns if there are none.

    Of the wanted ones it also prints the difference.
    """
    first, second = (os.path.join(place.BUILD, f"kernel-{name}") for name in (one, two))
    names, more = set(objects(first)), set(objects(second))
    for path in sorted(names ^ more):
        print(f"{path}: only in {one if path in names else two}")
    different, lines = 0, 0
    for path in sorted(names & more):
        pair = [os.path.join(kernel, path) for kernel in (first, second)]
        if filecmp.cmp(*pair, shallow=False):
            continue
        different += 1
        for name, old, new in differences(*pair):
            lines += 1
            print(f"{path}: {name}: {len(old)} lines of code in {one}, {len(new)} in {two}, "
                  f"{changed(old, new)} differ")
            if name in wanted:
                for line in difflib.unified_diff(anywhere(old), anywhere(new), one, two,
                                                 lineterm=""):
                    print(f"  {line}")
    print(f"{len(names & more)} objects, of which {different} are not equal; in "
          f"{lines} functions it is the code that differs")
    return not lines and names == more
