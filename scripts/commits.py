"""The series as commits of git, one for each patch, over a commit tagged base."""

import os
import shutil
import subprocess

from forms import ATTRIBUTES, DIFF, PLAIN
from project import copy, git_apply, read, run, write

GENERIC = ("mm/", "fs/", "kernel/", "lib/", "include/linux/")
# What is added to these is an entry of a list: a name, an object, a help text.
LISTS = ("Kconfig", "Makefile", "vm_event_item.h", "vmstat.c", "kernel-page-flags.h")


def git(tree, *words, **options):
    return run(["git", "-C", tree, "-c", "user.name=page_hva", "-c",
                "user.email=page_hva@example.invalid", "-c", "gc.auto=0",
                "-c", "commit.gpgSign=false", *words], **options)


def pristine_to(project, tree):
    """The files that the series touches, as they are without it, into a directory."""
    state = project.state
    for path in (read(os.path.join(state, "written")) or "").split():
        copy(os.path.join(state, "pristine", path), os.path.join(tree, path))


def message(entry):
    """The text of a commit; export finds in it what the series says of the patch."""
    subject, body, _ = entry.parts()
    part = f"Part: {entry.part.line[len('# part: '):]}\n" if entry.part else ""
    return f"{subject}\n\n{body}\n\nPatch: {entry.name}\n{part}"


def commit(project, tree, **more):
    """Make a directory with pristine files a repository with the commits."""
    env = dict(os.environ, **more)
    git(tree, "init", "-q")
    # Attributes of the project count as well; these are for trees that lack them.
    write(os.path.join(tree, ".git/info/attributes"), ATTRIBUTES)
    git(tree, "add", "-Af", ".")
    git(tree, "commit", "-qm", f"{project.name} {project.version}, pristine",
        "--allow-empty", env=env)
    git(tree, "tag", "base")
    ours = {}
    for entry in project.entries():
        git_apply(tree, entry, index=True)
        ours.update(entry.new)
        for path, text in entry.forms.items():
            write(os.path.join(tree, path), text)
            shutil.copymode(ours[path], os.path.join(tree, path))
            git(tree, "add", "-f", path)
        git(tree, "commit", "-q", "--allow-empty", "-F", "-", "--cleanup=verbatim",
            input=message(entry), env=env)


def small(project):
    """A repository of the touched files alone, and its commits: base, then each patch."""
    tree = os.path.join(project.state, "commits")
    if read(f"{tree}-of") != project.done():
        shutil.rmtree(tree, ignore_errors=True)
        os.makedirs(tree)
        pristine_to(project, tree)
        # The same series has the same commits.
        commit(project, tree, GIT_AUTHOR_DATE="1 Jan 2005 00:00 +0000",
               GIT_COMMITTER_DATE="1 Jan 2005 00:00 +0000")
        write(f"{tree}-of", project.done())
    commits = git(tree, "rev-list", "--reverse", "base..HEAD").split()
    return tree, ["base", *commits]


def difference(tree, *words):
    return git(tree, "-c", "core.abbrev=12", *DIFF, "--src-prefix=a/", "--dst-prefix=b/",
               *words, env=dict(os.environ, **PLAIN))


def changes(tree, first, last):
    """Lines added and removed: {path: (added, removed, existed upstream)}."""
    upstream = git(tree, "rev-list", "--max-parents=0", last).split()[0]
    existed = set(git(tree, "ls-tree", "-r", "--name-only", upstream).split("\n"))
    lines = (line.split("\t") for line in
             difference(tree, "--numstat", first, last).splitlines())
    return {path: (int(added), int(removed), path in existed)
            for added, removed, path in lines}


def sizes(changed):
    """Lines changed in existing files (generic, lists, arch/s390, others), and these files."""
    result = [0, 0, 0, 0]
    existing = [path for path, (_, _, existed) in changed.items() if existed]
    for path in existing:
        kind = 2 if path.startswith("arch/s390/") else 3
        if path.startswith(GENERIC):
            kind = os.path.basename(path) in LISTS
        result[kind] += sum(changed[path][:2])
    return *result, len(existing)


def contents(tree, objects):
    """The texts of objects, in order."""
    answer = subprocess.run(["git", "-C", tree, "cat-file", "--batch"], check=True,
                            input="".join(f"{name}\n" for name in objects).encode(),
                            stdout=subprocess.PIPE).stdout
    while answer:
        head, _, answer = answer.partition(b"\n")
        size = int(head.split()[2])
        yield answer[:size].decode("utf-8", "replace")
        answer = answer[size + 1:]


def files(tree, commits):
    """The texts of all files after each commit, {path: text}."""
    texts = {}              # of objects
    for commit in commits:
        names = dict(line.split()[2:][::-1] for line in
                     git(tree, "ls-tree", "-r", commit).splitlines())
        new = sorted(set(names.values()) - set(texts))
        texts.update(zip(new, contents(tree, new)))
        yield {path: texts[name] for path, name in names.items()}
