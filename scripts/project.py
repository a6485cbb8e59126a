"""The projects that are patched, and what patches/*/series says of them."""

import hashlib
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Directories of the repository that are not directories of the kernel.
HOUSE = {"build", "configs", "docs", "patches", "qemu", "scripts", "tests"}


# kvm is a series of its own for the source of linux, apart from the other one.
PROJECTS = ("linux", "qemu", "kvm", "hercules")


class Failure(Exception):
    """What went wrong and what to do, for the person at the keyboard."""


def pairs(path):
    """NAME=value lines."""
    return dict(line.strip().split("=", 1) for line in
                (read(os.path.join(ROOT, path)) or "").splitlines()
                if line.strip() and line[0] != "#")


def other_series():
    """The series that the environment names and that are not the default: by source."""
    known, other = pairs("scripts/versions"), {}
    for source in ("linux", "qemu"):
        series = os.environ.get(f"{source.upper()}_SERIES")
        if not series or series == known[f"{source.upper()}_SERIES"]:
            continue
        if not pairs(f"patches/{source}-{series}/version"):
            there = sorted(name for name in os.listdir(os.path.join(ROOT, "patches"))
                           if name.startswith(f"{source}-"))
            raise Failure(f"there are no patches for {source} {series}: patches/ has "
                          + ", ".join(there))
        other[source] = series
    return other


def versions():
    """The recorded versions, outweighed by the environment.

    What belongs to another series than the default is in its patches/NAME-SERIES/version.
    """
    known = pairs("scripts/versions")
    for source, series in other_series().items():
        known.update(pairs(f"patches/{source}-{series}/version"))
    return {name: os.environ.get(name) or value for name, value in known.items()}


def build_directory():
    """Where things are built: build, or a directory there for another series.

    In that one, what does not depend on the series is a link to the same in build.
    """
    top = os.path.join(ROOT, "build")
    other = other_series()
    if not other:
        return top
    here = os.path.join(top, "-".join("-".join(pair) for pair in other.items()))
    # Of the source whose series is the default.
    sources = {"linux": ["linux", "compose/linux", "kernel-main", "out/bzImage", "out/vmlinux"],
               "qemu": ["qemu", "compose/qemu", "qemu-obj", "out/qemu-system-s390x"]}
    shared = ["dl", "ccache", "apt", "apt-bookworm", "apt-sid", "tools", "tools-s390x",
              "tools-selftests", "debian-13"]
    for source in set(sources) - set(other):
        shared += sources[source]
    for name in shared:
        link, target = os.path.join(here, name), os.path.join(top, name)
        if not name.startswith("out/"):
            os.makedirs(target, exist_ok=True)
        if not os.path.lexists(link):
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(os.path.relpath(target, os.path.dirname(link)), link)
    return here


PART = re.compile(r"#\s*part:\s*(?:([\w.-]+):\s+)?(.*\S)")


class Part:
    """Patches that are sent together: '# part: NAME: TITLE', or only the title."""

    def __init__(self, name, title):
        self.name = name or re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        self.title = title
        self.line = f"# part: {name}: {title}" if name else f"# part: {title}"


class Entry:
    """One line of a series: a patch and the new files that enter with it.

    new maps their paths to the files of the repository; later has, by path, the hunks
    for files that an earlier entry introduced; old is the diff of all other files,
    which are touched; forms are the texts that new files have after this patch.
    """

    def __init__(self, project, words, part=None):
        self.project = project.name
        self.part = part
        self.name = words[0]
        self.path = os.path.join(project.patches, self.name)
        self.new = {project.tree_path(path): os.path.join(ROOT, path)
                    for path in words[1:]}
        shared = read(os.path.join(project.base, self.name)) if project.base else None
        for path in [*([] if shared else [self.path]), *self.new.values()]:
            if not os.path.isfile(path):
                raise Failure(f"{project.series} names {os.path.relpath(path, ROOT)}"
                              ", which does not exist")
        self.shared = Patch(shared) if shared else None
        self.own = Patch(read(self.path) or "")
        # What this kernel has different in files that enter here, by path.
        self.adapted = {path: self.own.files.pop(path) for path in self.new
                        if shared and path in self.own.files}
        self.text = self.own.over(self.shared) if shared else self.own.text
        self.later, self.forms = {}, {}
        self.old, self.touched = "", []

    def divide(self, entered):
        """Tell hunks for files that the entries before, by path, introduced from others."""
        for path, section in self.sections():
            if path in self.new:
                raise Failure(f"{self.name} changes {path}, which enters with it: the "
                              "file of the repository has its final form")
            if path not in entered:
                self.old += section
            elif f"\n--- a/{path}\n+++ b/{path}\n@@ " not in section:
                raise Failure(f"{self.name} does more to {path} than change lines; "
                              f"that is a new file which {entered[path]} introduces")
            elif path in self.later:
                raise Failure(f"{self.name} has {path} twice")
            else:
                self.later[path] = section
        self.touched = sorted(
            {path for path in re.findall(r"^(?:---|\+\+\+) [ab]/(\S+)", self.old,
                                         re.MULTILINE)})

    def sections(self):
        """The diff by files: pairs of path and text."""
        texts = re.split(r"^(?=diff --git )", self.parts()[2], flags=re.MULTILINE)
        for text in texts:
            if text.strip():
                path = re.match(r"diff --git a/\S+ b/(\S+)", text)
                yield path[1] if path else "", text

    def final(self, path, text=None):
        """The final form of a new file, or of that text of the shared file."""
        text = read(self.new[path]) if text is None else text
        if path in self.adapted:
            text = adapted(text, self.adapted[path])
        if text is None:
            raise Failure(f"what {os.path.relpath(self.path, ROOT)} has different in "
                          f"{os.path.relpath(self.new[path], ROOT)} does not apply to it")
        return text

    def rewrite(self, sections):
        """Write the patch with other hunks for some files."""
        subject, body, _ = self.parts()
        sections = {**dict(self.sections()), **sections}
        diff = "".join(sections[path] for path in sorted(sections))
        self.save(f"Subject: {subject}\n\n{body}\n---\n{diff}")

    def save(self, text):
        """Write what the patch is to be; of another series, only what it has different."""
        if self.shared:
            text = Patch(text).without(self.shared, self.own, self.adapted)
        if text is not None:
            write(self.path, text)
        elif os.path.exists(self.path):
            os.unlink(self.path)

    def parts(self):
        """Subject, body and diff of the patch."""
        head, _, diff = self.text.partition("\n---\n")
        subject, _, body = head.partition("\n\n")
        if not subject.startswith("Subject: ") or not _:
            raise Failure(f"{self.name} does not start with 'Subject: ', "
                          "a blank line and a body that ends with '---'")
        subject = " ".join(subject[len("Subject: "):].split())
        return subject, body.strip(), diff.strip("\n") + "\n" if diff else ""


class Patch:
    """A patch, or what a patch of another series has different from it.

    The latter has a head of its own, or a remark; the files whose hunks differ, or
    'Without: PATH' in the head; and what differs in the files that enter with the patch.
    """

    def __init__(self, text):
        self.text = text
        self.head, _, diff = text.partition("\n---\n")
        parts = re.split(r"^(?=diff --git )", diff, flags=re.MULTILINE)
        self.files = {re.match(r"diff --git a/\S+ b/(\S+)", part)[1]: part
                      for part in parts if part.startswith("diff --git ")}
        self.gone = set(re.findall(r"^Without: (\S+)$", self.head, re.MULTILINE))

    def over(self, shared):
        """The whole patch."""
        files = {path: part for path, part in shared.files.items() if path not in self.gone}
        files.update(self.files)
        head = shared.head
        if self.head.startswith("Subject: "):
            head = re.sub(r"^Without: .*\n?", "", self.head, flags=re.MULTILINE).rstrip()
        return f"{head}\n---\n" + "".join(files[path] for path in sorted(files))

    def without(self, shared, before, more):
        """What this whole patch has different from the shared one, or None."""
        files = {path: part for path, part in self.files.items()
                 if path not in shared.files or not same(part, shared.files[path])}
        gone = sorted(set(shared.files) - set(self.files))
        files.update(more)
        head = [line for line in before.head.splitlines() if not line.startswith("Without: ")]
        if self.head != shared.head:
            head = [self.head, ""]
        elif before.head.startswith("Subject: "):
            head = []
        if not files and not gone and self.head == shared.head:
            return None
        head = "\n".join([*head, *(f"Without: {path}" for path in gone)]).strip()
        return f"{head}\n---\n" + "".join(files[path] for path in sorted(files))


def same(one, other):
    """Do two diffs of a file change the same lines, wherever they are?"""
    return re.sub(r"^@@ .*", "@@", one, flags=re.MULTILINE) == re.sub(
        r"^@@ .*", "@@", other, flags=re.MULTILINE)


def adapted(text, section):
    """The text of a shared file with what differs in this kernel; None if it does not fit."""
    import forms                        # here, because it needs what is above
    try:
        lines, _ = forms.patched(forms.lines_of(text), forms.hunks_of(section))
    except forms.Mismatch:
        return None
    return "".join(lines)


class Project:
    def __init__(self, name):
        known = versions()
        self.source = "linux" if name == "kvm" else name
        upper = self.source.upper()
        self.name = name
        self.release = known[f"{upper}_SERIES"]
        self.version = known[f"{upper}_VERSION"]
        self.patches = os.path.join(ROOT, "patches", f"{name}-{self.release}")
        default = pairs("scripts/versions")[f"{upper}_SERIES"]
        # The patches that another series than the default has, but for what it says.
        self.base = None
        if self.release != default:
            self.base = os.path.join(ROOT, "patches", f"{name}-{default}")
            if not os.path.isdir(self.patches):
                raise Failure(f"{name} is for {self.source} {default} only: there is no "
                              f"patches/{name}-{self.release}")
        self.series = os.path.relpath(self.file("series"), ROOT)
        self.user_source = os.environ.get(f"{upper}_SRC") or None
        # A link if its series is not the one that the build directory is for.
        self.tree = os.path.realpath(os.path.join(BUILD, name))
        self.state = os.path.realpath(os.path.join(BUILD, "compose", name))

    def file(self, name):
        """The path of a file beside the patches: of its own, or of the default series."""
        path = os.path.join(self.patches, name)
        if self.base and not os.path.exists(path):
            return os.path.join(self.base, name)
        return path

    def roots(self):
        """Directories of the repository with new files of this project."""
        if self.name in ("kvm", "hercules"):
            return []
        if self.name == "qemu":
            return [d for d in ["qemu"] if os.path.isdir(os.path.join(ROOT, d))]
        return sorted(d for d in os.listdir(ROOT)
                      if os.path.isdir(os.path.join(ROOT, d))
                      and d[0] != "." and d not in HOUSE)

    def tree_path(self, path):
        """Where a new file of the repository goes in the project's tree."""
        top, _, rest = path.partition("/")
        if self.name == "qemu":
            return rest
        return f"arch/s390/{rest}" if top == "arch-s390" else path

    def entries(self, checked=True):
        """The series in order; a file that no line names is an error.

        What is checked also leads to the final forms of new files, and has .forms.
        """
        entries, part = [], None
        for line in (read(os.path.join(ROOT, self.series)) or "").splitlines():
            found = PART.match(line)
            part = Part(*found.groups()) if found else part
            words = line.partition("#")[0].split()
            if words:
                entries.append(Entry(self, words, part))
        named = [path for entry in entries for path in [entry.path,
                                                        *entry.new.values()]]
        twice = {os.path.relpath(p, ROOT) for p in named if named.count(p) > 1}
        if twice:
            raise Failure(f"{self.series} names more than once: "
                          f"{', '.join(sorted(twice))}")
        orphans = sorted(set(self._files()) - set(named))
        if orphans and entries:
            raise Failure(f"no line of {self.series} names "
                          + ", ".join(os.path.relpath(p, ROOT) for p in orphans))
        entered, ours = {}, {path for entry in entries for path in entry.new}
        for entry in entries:
            entry.divide(entered)
            for path in ours.intersection(entry.touched):
                raise Failure(f"{entry.name} changes {path} before it enters")
            entered.update((path, entry.name) for path in entry.new)
        if checked:
            import forms                # here, because it needs what is above
            forms.fill(entries)
        return entries

    def _files(self):
        if os.path.isdir(self.patches):
            for name in os.listdir(self.patches):
                if name.endswith(".patch"):
                    yield os.path.join(self.patches, name)
        for root in self.roots():
            for where, _, names in os.walk(os.path.join(ROOT, root)):
                for name in names:
                    yield os.path.join(where, name)

    def digest(self, source_key):
        """Changes when the source or anything in the series does."""
        digest = hashlib.sha256(source_key.encode())
        for entry in self.entries(checked=False):
            for text in (entry.text, *entry.adapted.values()):
                digest.update(f"\0{text}".encode())
            for name, path in sorted(entry.new.items()):
                with open(path, "rb") as file:
                    digest.update(f"{name}\0".encode() + file.read())
        return digest.hexdigest()

    def done(self):
        """The digest of what build/NAME holds, or None."""
        return read(os.path.join(self.state, "done"))

    def pristine_tree(self, home, link=False):
        """A copy of the tree, in home/NAME, as it is without our series.

        Files that did not change keep their times, so builds there are incremental.
        Built in home/NAME-obj, it shares the compiler cache with the tree itself.
        With link the files are the same as far as they are equal: copy() replaces a
        file, and so may whoever else changes one, but nobody may write into one.
        """
        tree = os.path.join(home, self.name)
        mark = f"{tree}-copied"
        source = read(os.path.join(self.state, "source"))
        key, *before = (read(mark) or "\n").splitlines()
        ours = (read(os.path.join(self.state, "written")) or "").split()
        if key != source:
            print(f"# copying build/{self.name}", flush=True)
            shutil.rmtree(tree, ignore_errors=True)
            shutil.rmtree(f"{tree}-obj", ignore_errors=True)
            os.makedirs(f"{tree}-obj")
            shutil.copytree(self.tree, tree, symlinks=True,
                            copy_function=os.link if link else shutil.copy2)
            before = []
        touched = sorted({*ours, *before})
        write(mark, "\n".join([source, *touched]) + "\n")
        for path in touched:
            # What has left the series since is pristine in the tree itself.
            base = os.path.join(self.state, "pristine") if path in ours else self.tree
            copy(os.path.join(base, path), os.path.join(tree, path))
        return tree

    def archive(self):
        """The path of the fetched and checked archive."""
        return run([os.path.join(ROOT, "scripts/fetch"), self.source, "--path"],
                   stderr=None).strip()


def git_apply(directory, entry, index=False):
    """Apply a patch to files that exist upstream; say which file refuses."""
    # Without the ceiling git would take the directory for a part of this repository.
    env = dict(os.environ, GIT_CEILING_DIRECTORIES=os.path.dirname(directory))
    if not entry.touched:
        return
    result = subprocess.run(["git", "apply", "--whitespace=nowarn",
                             *(["--index"] if index else []), "-"],
                            cwd=directory, env=env, text=True, encoding="utf-8",
                            input=entry.old, stderr=subprocess.PIPE, check=False)
    if result.returncode:
        files = sorted(set(re.findall(r"^error: (\S+): (?:patch does not apply|"
                                      r"No such file|already exists)",
                                      result.stderr, re.MULTILINE)))
        raise Failure(f"{entry.name} does not apply to {', '.join(files) or 'the tree'}"
                      f":\n{result.stderr.strip()}")


def run(command, **options):
    """Output of a command; its failure is ours, with its own words."""
    options.setdefault("stderr", subprocess.PIPE)
    try:
        result = subprocess.run(command, text=True, encoding="utf-8",
                                stdout=subprocess.PIPE, check=False, **options)
    except FileNotFoundError:
        raise Failure(f"{command[0]} is missing: run scripts/install") from None
    if result.returncode:
        raise Failure((result.stderr or "").strip() or
                      f"{' '.join(command[:3])} ended with {result.returncode}")
    return result.stdout


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def write(path, text):
    """Write a file so that it is either the old or the new one."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".tmp", path)


def copy(source, target):
    """Make target equal to source; an absent source removes it.

    A target of equal content keeps its time, so that nothing is built again.
    The result is whether there was something to do.
    """
    if not os.path.exists(source):
        if os.path.exists(target):
            os.unlink(target)
            return True
        return False
    with open(source, "rb") as file:
        content = file.read()
    try:
        with open(target, "rb") as file:
            if file.read() == content:
                return False
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target + ".page_hva", "wb") as file:
        file.write(content)
    os.chmod(target + ".page_hva", os.stat(source).st_mode & 0o777)
    os.replace(target + ".page_hva", target)
    return True


def main(function):
    """Run a script's main function; failures become one message."""
    try:
        sys.exit(function(sys.argv[1:]))
    except Failure as failure:
        name = os.path.basename(sys.argv[0])
        print(f"{name}: {failure}", file=sys.stderr)
    except OSError as error:
        print(f"{os.path.basename(sys.argv[0])}: {error}; "
              "mend that and start again", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
    sys.exit(1)


try:
    BUILD = build_directory()
except Failure as wrong:
    sys.exit(f"{os.path.basename(sys.argv[0])}: {wrong}")

if __name__ == "__main__":
    print(BUILD)
