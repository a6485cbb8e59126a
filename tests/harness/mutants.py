"""A copy of build/qemu in which one thing at a time is broken."""

import filecmp
import os
import re
import shutil
import subprocess

from . import place
from .report import Broken

MUTANTS = os.path.join(place.ROOT, "tests", "mutants")
HANG = 90       # seconds without a line; on a busy machine some tests take long


def sh(command, **options):
    return subprocess.run(command, text=True, check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def fits():
    """What is wrong with those that do not apply to build/qemu any more."""
    apply = ["patch", "-p1", "-s", "-F2", "--dry-run", "-i"]
    tree = os.path.join(place.BUILD, "qemu")
    results = {name: sh([*apply, os.path.join(MUTANTS, name)], cwd=tree)
               for name in sorted(os.listdir(MUTANTS))}
    return [f"{name}: {done.stdout}" for name, done in results.items() if done.returncode]


class Mutant:
    def __init__(self, name):
        self.name = name
        self.patch = os.path.join(MUTANTS, name + ".patch")
        with open(self.patch, encoding="utf-8") as file:
            text = file.read()
        self.modes = re.search(r"^# Modes: (.*)", text, re.MULTILINE)[1].split()
        self.red = re.search(r"^# Red: (.*)", text, re.MULTILINE)[1].split(", ")
        self.files = re.findall(r"^\+\+\+ b/(\S+)", text, re.MULTILINE)


class Host:
    """The copied tree, its objects, and what the tests say of the result."""

    def __init__(self):
        self.source = os.path.join(place.BUILD, "qemu")
        self.home = os.path.join(place.BUILD, "check-host")
        self.tree = os.path.join(self.home, "qemu")
        self.obj = os.path.join(self.home, "qemu-obj")

    def check(self, report, names, unchanged_too=True):
        mutants = [Mutant(name) for name in names]
        if not os.path.isdir(self.source):
            raise Broken("there is no build/qemu; 'make qemu' makes it")
        self.mirror()
        self.build()
        report.passed("check-host: the tree is built")
        if unchanged_too:
            modes = dict.fromkeys(mode for mutant in mutants for mode in mutant.modes)
            red, problems, _ = self.run(modes)
            report.result(not red and not problems, "check-host: unchanged, all tests pass",
                          "\n".join(red + problems))
            if red or problems:
                return
        for mutant in mutants:
            self.one(report, mutant)

    def one(self, report, mutant):
        name = f"check-host: {mutant.name} is noticed"
        applied = sh(["patch", "-p1", "-s", "-F2", "--no-backup-if-mismatch", "-r-",
                      "-i", mutant.patch], cwd=self.tree)
        try:
            if applied.returncode:
                report.failed(name, "the patch does not apply to build/qemu any more:\n"
                              + applied.stdout)
                return
            self.build()
            red, problems, expected = self.run(mutant.modes, mutant.red)
        except Broken as broken:
            report.failed(name, str(broken))
            return
        finally:
            self.restore(mutant.files)
        for line in problems:
            print(f"#   it ends in a crash or a hang: {line}", flush=True)
        if expected:
            print(f"#   red: {expected}", flush=True)
        if expected or problems:
            report.passed(name)
        elif red:
            report.failed(name, f"but by none of '{', '.join(mutant.red)}':\n"
                          + "\n".join(red))
        else:
            report.failed(name, "all tests passed")

    def run(self, modes, enough=()):
        """The red tests, what else went wrong, the red test that was enough to stop."""
        command = [os.path.join(place.ROOT, "tests/bare/run"), "--qemu", self.qemu(),
                   "--timeout", str(HANG)]
        for mode in modes:
            command += ["--mode", mode]
        red, problems, line = [], [], ""
        with subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            for line in process.stdout:
                line = line.rstrip()
                if problems and problems[-1].endswith(":"):
                    problems[-1] += line[1:]
                if not line.startswith("not ok "):
                    continue
                test = line.split(" - ", 1)[1]
                if test.endswith(": runs to its end"):
                    problems.append(test.split(":", 1)[0] + ":")
                    continue
                red.append(test)
                if any(part in test for part in enough):
                    process.terminate()
                    process.communicate()
                    return red, problems, test
        if not line.startswith("# Totals"):
            raise Broken(f"tests/bare/run ended early: {line}")
        return red, problems, None

    def qemu(self):
        """Where it finds the firmware: not beside the objects."""
        return os.path.join(self.home, "qemu-system-s390x")

    def build(self):
        env = dict(os.environ, CCACHE_BASEDIR=self.home, CCACHE_NOHASHDIR="1")
        result = sh([os.path.join(place.ROOT, "scripts/qemu"), self.tree, self.obj], env=env)
        if result.returncode:
            raise Broken("it does not build:\n" + result.stdout[-2000:])
        # A new file: the old one may still be running, after an interruption.
        new = self.qemu() + ".new"
        shutil.copy(os.path.join(self.obj, "qemu-system-s390x"), new)
        os.replace(new, self.qemu())

    def restore(self, files):
        """Files as in build/qemu, but newer than what was built from them."""
        for path in files:
            shutil.copyfile(os.path.join(self.source, path), os.path.join(self.tree, path))

    def mirror(self):
        """Make the tree equal to build/qemu; only what differs gets a new time."""
        ours = self.files(self.tree)
        theirs = self.files(self.source)
        for path in ours - theirs:
            os.unlink(os.path.join(self.tree, path))
        for path in theirs:
            old, new = os.path.join(self.source, path), os.path.join(self.tree, path)
            if path not in ours:
                os.makedirs(os.path.dirname(new), exist_ok=True)
                shutil.copy2(old, new, follow_symlinks=False)
            elif not os.path.islink(old) and not filecmp.cmp(old, new, shallow=False):
                shutil.copyfile(old, new)

    @staticmethod
    def files(top):
        return {os.path.relpath(os.path.join(directory, name), top)
                for directory, directories, names in os.walk(top)
                for name in names + [d for d in directories
                                     if os.path.islink(os.path.join(directory, d))]}
