"""Nothing is written twice, and nothing gets lost: the scripts on a series of three patches.

It is made in a repository of its own, with our scripts and a source tree of two files.
"""

import os
import re
import shutil
import subprocess
import sys

from harness import place
from harness.guest import GuestError

HOME = os.path.join(place.BUILD, "incremental")
OLD = "".join(f"old line {n}\n" for n in range(1, 31))
CORE = "".join(f"core line {n}\n" for n in range(1, 31))
PATCHES = [
    # name, part, what is changed: {path: [(old, new)...]}, None for a new file
    ("0001-core.patch", "1-first: The first part",
     {"mm/old.c": [("old line 5\n", "old line 5\ncore here\n")],
      "mm/fake.c": [(None, CORE)]}),
    ("0002-more.patch", "1-first: The first part",
     {"mm/fake.c": [("core line 10\n", "core line 10\nmore 1\nmore 2\nmore 3\n"),
                    ("core line 20\n", "")],
      "arch/s390/mm/fake.c": [(None, "of s390\n# not\f a comment\n")]}),
    ("0003-most.patch", "Second things",
     {"mm/old.c": [("core here\n", "core here\nmost here\n")],
      "mm/fake.c": [("more 2\n", "more 2\nmost 1\nmost 2\n"),
                    ("core line 30\n", "core line 30\nmost at the end\n")],
      "arch/s390/mm/fake.c": [("of s390\n", "of s390 and most\n")]}),
]


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def get(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def edit(path, *pairs):
    text = get(path) if os.path.exists(path) else ""
    for old, new in pairs:
        assert old is None or text.count(old) == 1, f"{old!r} is not once in {path}"
        text = new if old is None else text.replace(old, new)
    put(path, text)


class Repository:
    """A repository with our scripts, and what they do there."""

    def __init__(self, home):
        self.root = os.path.join(home, "repository")
        self.source = os.path.join(home, "source")
        self.home = home
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(os.path.join(place.ROOT, "scripts"),
                        os.path.join(self.root, "scripts"),
                        ignore=shutil.ignore_patterns("__pycache__"))
        put(f"{self.source}/Makefile", "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 0\n")
        put(f"{self.source}/mm/old.c", OLD)
        for name in ("1-first", "second-things"):
            put(self.path(f"patches/linux-6.12/cover-{name}.txt"),
                f"Subject: {name}\n\nAbout it.\n")
        put(self.path("patches/linux-6.12/series"), "# the top\n")
        put(self.path(".gitignore"), "build\n__pycache__\n")
        self.git(self.root, "init", "-q")

    def path(self, name):
        return os.path.join(self.root, name)

    def run(self, *command, good=True, **more):
        env = {"LINUX_SRC": self.source, "LINUX_SERIES": "", "QEMU_SERIES": "",
               "GIT_EDITOR": "true", "GIT_SEQUENCE_EDITOR": "true",
               "GIT_CONFIG_GLOBAL": "/dev/null", **more}
        env = {**os.environ, **env}
        done = subprocess.run(command, cwd=self.root, env=env, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL)
        if (not done.returncode) != good:
            raise GuestError(f"{' '.join(command)} {'fails' if good else 'does not fail'}:"
                             f"\n{done.stdout}")
        return done.stdout

    def script(self, name, *words, **options):
        return self.run(self.path(f"scripts/{name}"), *words, **options)

    def git(self, tree, *words):
        return self.run("git", "-C", tree, "-c", "user.name=page_hva", "-c",
                        "user.email=page_hva@example.invalid", *words)

    def keep(self):
        self.git(self.root, "add", "-A")
        self.git(self.root, "commit", "-qm", "state", "--allow-empty")

    def make(self, tree):
        """The commits of PATCHES."""
        shutil.copytree(self.source, tree)
        self.git(tree, "init", "-q")
        for number, (name, part, changes) in enumerate([(None, None, {}), *PATCHES]):
            for path, pairs in changes.items():
                edit(os.path.join(tree, path), *pairs)
            self.git(tree, "add", "-A")
            self.git(tree, "commit", "-qm", f"mm: Patch {number}\n\nIts body.\n\n"
                     f"Patch: {name}\nPart: {part}" if number else "pristine")
            if not number:
                self.git(tree, "tag", "base")

    def dev_tree(self, name):
        tree = os.path.join(self.home, name)
        shutil.rmtree(tree, ignore_errors=True)
        self.script("compose", "linux")
        self.script("dev-tree", "linux", tree)
        return tree

    def commits(self, tree):
        """What matters of the commits: messages and trees."""
        return self.git(tree, "log", "--format=%T%n%B", "base~0..HEAD")

    def same(self, one, other):
        assert self.commits(one) == self.commits(other), \
            f"the commits of {one} and {other} differ"
        built = self.path("build/linux")
        found = self.run("sh", "-c", 'diff -r --exclude=.git "$1" "$2" || [ $? = 1 ]',
                         "sh", built, other)
        assert not found, f"what was composed differs from the last commit: {found}"

    def patch(self, number):
        return get(self.path(f"patches/linux-6.12/{PATCHES[number - 1][0]}"))

    def edit(self, *pairs):
        edit(self.path("mm/fake.c"), *pairs)


def everything(report):
    repository = Repository(HOME)
    for test in (made, rebased, placed, refused, order, inserted, other, whole, later):
        with report.test(f"series: {test.__doc__}"):
            test(repository)
    if not report.count["failed"]:
        shutil.rmtree(HOME)


def made(repository):
    """commits become patches, and these the same commits"""
    tree = os.path.join(repository.home, "made")
    repository.make(tree)
    repository.script("export", "linux", tree)
    repository.same(tree, repository.dev_tree("again"))
    lines = get(repository.path("patches/linux-6.12/series")).splitlines()
    assert lines == ["# the top", "# part: 1-first: The first part",
                     "0001-core.patch mm/fake.c",
                     "0002-more.patch arch-s390/mm/fake.c",
                     "# part: Second things", "0003-most.patch"], lines
    repository.keep()


def rebased(repository):
    """changes in any commit, rebased, come back as they are"""
    tree = repository.dev_tree("rebased")
    ids = repository.git(tree, "rev-list", "--reverse", "base..HEAD").split()
    for commit, pair in ((ids[0], ("core line 1\n", "core line 1, new\n")),
                         (ids[1], ("more 1\n", "more 1, new\n")),
                         (ids[2], ("most 2\n", "most 2, new\nmost 2a\n"))):
        edit(os.path.join(tree, "mm/fake.c"), pair)
        repository.git(tree, "commit", "-aqm", f"fixup! {commit}")
    repository.git(tree, "rebase", "-q", "-i", "--autosquash", "base")
    assert len(repository.git(tree, "rev-list", "base..HEAD").split()) == 3
    repository.script("export", "linux", tree)
    assert "+more 1, new" in repository.patch(2) and "+most 2a" in repository.patch(3)
    repository.same(tree, repository.dev_tree("again"))
    assert not repository.script("export", "linux",
                                 os.path.join(repository.home, "again"))
    repository.keep()


def placed(repository):
    """an edit of a final form is placed by itself"""
    repository.edit(("core line 2\n", "core line 2\ncore line 2a\n"),   # 1: elsewhere
                    ("more 1, new\n", "more 1, edited\n"),                    # 2: context of 3
                    ("core line 29\n", ""),                              # 1: context of 3
                    ("most 2, new\n", "most 2, edited\n"))              # 3
    said = repository.script("compose", "linux")
    assert "placed in 0001-core.patch, 0002-more.patch, 0003-most.patch" in said, said
    tree = repository.dev_tree("placed")
    forms = [repository.git(tree, "show", f"HEAD~{n}:mm/fake.c") for n in (2, 1, 0)]
    for line, expected in (("core line 2a", [1, 1, 1]), ("core line 29", [0, 0, 0]),
                           ("more 1, edited", [0, 1, 1]), ("most 2, edited", [0, 0, 1])):
        found = [form.split("\n").count(line) for form in forms]
        assert found == expected, f"{line}: {found}"
    assert forms[2] == get(repository.path("mm/fake.c"))
    assert not repository.script("export", "linux", tree)
    repository.keep()


def refused(repository):
    """an edit that could belong to two patches is refused, until one is named"""
    before = get(repository.path("mm/fake.c"))
    repository.edit(("more 3\n", "more 3\nin between\n"))
    said = repository.script("compose", "linux", good=False)
    assert re.search(r"mm/fake.c, line \d+: cannot say whether this change belongs to "
                     r"0001-core.patch or 0002-more.patch", said), said
    repository.script("export", "--refresh", "linux", "--into", "0002-more.patch")
    assert "+in between" in repository.patch(2)
    tree = repository.dev_tree("placed")
    assert not repository.script("export", "linux", tree)
    os.unlink(repository.path("mm/fake.c"))
    repository.git(tree, "rm", "-q", "mm/fake.c")
    repository.git(tree, "commit", "-qm", "mm: Delete it")
    put(repository.path("mm/fake.c"), before)
    said = repository.script("export", "linux", tree, good=False)
    assert "deletes (or renames) mm/fake.c, which 0001-core.patch introduces" in said, said
    repository.git(repository.root, "checkout", "-q", ".")


def order(repository):
    """a series out of order is refused"""
    path = repository.path("patches/linux-6.12/series")
    lines = get(path).splitlines()
    for first, second, expected in (
            (2, 3, "0002-more.patch changes mm/fake.c before it enters"),
            (3, 5, "0003-most.patch changes arch/s390/mm/fake.c before it enters")):
        swapped = list(lines)
        swapped[first], swapped[second] = lines[second], lines[first]
        put(path, "\n".join(swapped) + "\n")
        said = repository.script("compose", "linux", good=False)
        assert expected in said, said
    lines[3] = lines[3].replace("0002-more.patch ", "0003-most.patch ")
    lines[5] = "0002-more.patch"
    put(path, "\n".join(lines) + "\n")
    said = repository.script("compose", "linux", good=False)
    assert re.search("0003-most.patch changes .*, which enters with it", said), said
    repository.git(repository.root, "checkout", "-q", ".")


def inserted(repository):
    """a commit in between gets its number; comments and parts stay where they are"""
    path = repository.path("patches/linux-6.12/series")
    put(path, get(path).replace("0003-", "# about the last\n0003-"))
    tree = repository.dev_tree("inserted")
    last = repository.git(tree, "rev-parse", "HEAD").strip()
    repository.git(tree, "reset", "-q", "--hard", "HEAD~1")
    edit(os.path.join(tree, "mm/new.c"), (None, "new\n"))
    repository.git(tree, "add", "-A")
    repository.git(tree, "commit", "-qm", "mm: Come in between\n\nIts body.")
    repository.git(tree, "cherry-pick", last)
    repository.script("export", "linux", tree)
    lines = get(path).splitlines()
    assert lines[3:] == ["0002-more.patch arch-s390/mm/fake.c",
                         "0003-mm-come-in-between.patch mm/new.c", "# part: Second things",
                         "# about the last", "0004-most.patch"], lines
    assert not os.path.exists(repository.path("patches/linux-6.12/0003-most.patch"))
    again = repository.dev_tree("again")
    assert repository.run("git", "-C", tree, "rev-parse", "HEAD^{tree}") == \
        repository.run("git", "-C", again, "rev-parse", "HEAD^{tree}")
    repository.git(repository.root, "checkout", "-q", ".")
    repository.git(repository.root, "clean", "-qfd")


def other(repository):
    """a kernel of another series has its own hunks and lines, and nothing else of its own"""
    source, tree, again = (os.path.join(repository.home, name)
                           for name in ("source-7", "made-7", "again-7"))
    put(f"{source}/Makefile", "VERSION = 7\nPATCHLEVEL = 0\nSUBLEVEL = 0\n")
    put(f"{source}/mm/old.c", OLD.replace("old line 6\n", "other line 6\n"))
    seven = {"LINUX_SERIES": "7.0", "LINUX_SRC": source}
    said = repository.script("compose", "linux", good=False, **seven)
    assert "there are no patches for linux 7.0: patches/ has linux-6.12" in said, said
    put(repository.path("patches/linux-7.0/version"), "LINUX_SERIES=7.0\nLINUX_VERSION=7.0.0\n")
    said = repository.script("compose", "linux", good=False, **seven)
    assert "0001-core.patch does not apply to mm/old.c" in said, said

    shared = get(repository.path("mm/fake.c"))
    lines = get(repository.path("patches/linux-6.12/series"))
    shutil.copytree(source, tree)
    repository.git(tree, "init", "-q")
    repository.git(tree, "add", "-A")
    repository.git(tree, "commit", "-qm", "pristine")
    repository.git(tree, "tag", "base")
    old = repository.dev_tree("old")
    for commit in repository.git(old, "rev-list", "--reverse", "base..HEAD").split():
        # As somebody would bring a series to another kernel.
        changed = repository.git(old, "diff", "--name-only", f"{commit}^", commit).split()
        for path in changed:
            text = repository.git(old, "show", f"{commit}:{path}")
            put(os.path.join(tree, path), text.replace("old line 6\n", "other line 6\n")
                .replace("core line 15\n", "core line 15 of 7\n"))
        repository.git(tree, "add", "-A")
        repository.git(tree, "commit", "-qm", repository.git(
            old, "log", "-1", "--format=%B", commit))
    repository.script("export", "linux", tree, **seven)
    # The hunk of the last patch has none of the lines that differ around it.
    assert sorted(os.listdir(repository.path("patches/linux-7.0"))) == \
        ["0001-core.patch", "0003-most.patch", "version"], os.listdir(
            repository.path("patches/linux-7.0"))
    assert "core line 15 of 7" in get(repository.path("patches/linux-7.0/0001-core.patch"))
    assert get(repository.path("mm/fake.c")) == shared
    assert get(repository.path("patches/linux-6.12/series")) == lines

    # An edit of the shared file is for both.
    repository.edit(("core line 2\n", "core line 2, for all\n"))
    for more in ({}, seven):
        repository.script("compose", "linux", **more)
    repository.script("dev-tree", "linux", again, **seven)
    text = get(f"{again}/mm/fake.c")
    assert text == get(repository.path("mm/fake.c")).replace(
        "core line 15\n", "core line 15 of 7\n"), text
    assert text == get(repository.path("build/linux-7.0/linux/mm/fake.c"))
    assert "for all" in get(repository.path("build/linux/mm/fake.c"))
    assert not repository.script("export", "linux", again, **seven)
    # Where it differs, it cannot be edited for both.
    repository.edit(("core line 15\n", "core line fifteen\n"))
    said = repository.script("compose", "linux", good=False, **seven)
    assert "0001-core.patch has different in mm/fake.c does not apply" in said, said
    repository.git(repository.root, "checkout", "-q", ".")
    repository.git(repository.root, "clean", "-qfd")
    shutil.rmtree(repository.path("build/linux-7.0"))


def later(_):
    """what a patch takes from a later one is seen without building it"""
    sys.path.insert(0, os.path.join(place.ROOT, "scripts"))
    try:
        from names import missing
    finally:
        del sys.path[0]
    user = "int f(void)\n{\n\treturn page_hva_later(1);\t/* page_hva_not() */\n}\n"
    for files, expected in (
            ({"mm/a.c": user}, ["mm/a.c names page_hva_later(), which nothing defines"]),
            ({"mm/a.c": user, "mm/a.h": "static inline int page_hva_later(int x)\n{\n}\n"}, []),
            ({"mm/a.h": "int page_hva_later(int x);\n"},
             ["mm/a.h names page_hva_later(), which nothing defines"]),
            ({"mm/a.c": user, "mm/a.h": "int\npage_hva_later(int x)\n{\n}\n"}, []),
            ({"mm/a.c": user, "mm/b.h": "#define page_hva_later(x) (x)\n"}, []),
            ({"mm/a.c": '#include "page_hva_x.h"\n'},
             ["mm/a.c includes page_hva_x.h, which is not there"]),
            ({"mm/a.c": "#include <linux/page_hva.h>\n"},
             ["mm/a.c includes <linux/page_hva.h>, which is not there"]),
            ({"mm/Makefile": "obj-$(CONFIG_PAGE_HVA) += page_hva.o\n"},
             ["mm/Makefile asks for CONFIG_PAGE_HVA, which no Kconfig has",
              "mm/Makefile wants page_hva.o, and page_hva.c is not there"])):
        found = list(missing(files))
        assert found == expected, f"{found} and not {expected}"


def whole(repository):
    """each part is mails that git am applies after the part before"""
    repository.script("compose", "linux")
    repository.script("series", "linux")
    tree = os.path.join(repository.home, "mails")
    shutil.copytree(repository.source, tree)
    repository.git(tree, "init", "-q")
    repository.git(tree, "add", "-A")
    repository.git(tree, "commit", "-qm", "pristine")
    mails = repository.path("build/series/linux")
    for part, names in (("1-first", ["0001-core.patch", "0002-more.patch"]),
                        ("2-second-things", ["0001-most.patch"])):
        found = sorted(os.listdir(f"{mails}/{part}"))
        assert found == ["0000-cover-letter.patch", *names], found
        for number, name in enumerate(names, 1):
            assert f"[PATCH {number}/{len(names)}]" in get(f"{mails}/{part}/{name}")
        repository.git(tree, "am", "-q", *(f"{mails}/{part}/{name}" for name in names))
    found = repository.run("sh", "-c", 'diff -r --exclude=.git "$1" "$2" || [ $? = 1 ]',
                           "sh", tree, repository.path("build/linux"))
    assert not found, found
