"""The series that make series writes is what was built and tested."""

import filecmp
import os
import re
import shutil
import subprocess

from harness import place
from harness.report import Broken
from . import incremental

# The submitter signs off; MAINTAINERS covers new files by the patterns of their directories.
CHECKPATCH = {
    "linux": ["--strict", "--no-signoff", "--show-types",
              "--ignore", "MISSING_SIGN_OFF,FILE_PATH_CHANGES"],
    "qemu": ["--no-signoff"],           # it knows neither --strict nor --ignore
}
CHECKPATCH["kvm"] = CHECKPATCH["linux"]


# At most, by the series of Linux; and how many patches there are to the end of part 1.
SHAPES = {"6.12": (21, 13, 184, 150, 257), "7.2": (21, 13, 188, 150, 257)}
FIRST_PART = 13


def sh(command, **options):
    return subprocess.run(command, text=True, encoding="utf-8", errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, check=False, **options)


def series(report):
    incremental.everything(report)
    gone(report)
    made = sh(["make", "series"], cwd=place.ROOT)
    if made.returncode:
        raise Broken(made.stdout)
    for line in made.stdout.splitlines():
        if line.startswith("build/"):
            print(f"#   {line}")
    static(report)
    for project in ("linux", "qemu"):
        applies(report, project)
        checkpatch(report, project)


def gone(report):
    """A pinned archive that is gone: the newest one of its series, with the index's sum."""
    home = os.path.join(place.BUILD, "gone")
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(os.path.join(place.ROOT, "scripts"), os.path.join(home, "scripts"),
                    ignore=shutil.ignore_patterns("__pycache__"))
    os.makedirs(os.path.join(home, "build"))
    os.symlink(os.path.join(place.BUILD, "apt"), os.path.join(home, "build/apt"))
    versions = os.path.join(home, "scripts/versions")
    with open(versions, encoding="ascii") as file:
        pinned = file.read()
    env = {name: value for name, value in os.environ.items() if "_SERIES" not in name}
    for series, expected in (
            ("3.13", "no hercules_3.13.99.orig.tar.gz any more: taking hercules_3.13."),
            ("3.1", "Debian's archive has no hercules_3.1.99.orig.tar.gz; it has: ")):
        with open(versions, "w", encoding="ascii") as file:
            file.write(re.sub(r"(HERCULES_\w+=.*)3\.13\b", rf"\g<1>{series}.99", pinned).replace(
                f"HERCULES_SERIES={series}.99", f"HERCULES_SERIES={series}"))
        done = sh([os.path.join(home, "scripts/fetch"), "hercules", "--path"], env=env)
        path = done.stdout.splitlines()[-1]
        good = expected in done.stdout
        if not done.returncode:     # it has the sum that is recorded for the pinned one
            good = good and sh(["sha256sum", path]).stdout.split()[0] in pinned
        report.result(good, f"series: what is fetched if the archive of {series} that is "
                      "pinned is gone", done.stdout)
    shutil.rmtree(home)


def mails(project):
    """The patches of all parts, in the order in which they are applied."""
    top = os.path.join(place.BUILD, "series", project)
    return sorted(os.path.join(directory, name) for directory, _, names in os.walk(top)
                  for name in names if not name.startswith("0000-"))


def source_of(project):
    """A function that puts pristine files into a directory."""
    user = os.environ.get(f"{project.upper()}_SRC")
    if user:
        def copy(paths, directory):
            for path in paths:
                if os.path.exists(os.path.join(user, path)):
                    target = os.path.join(directory, path)
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    shutil.copy(os.path.join(user, path), target)
        return copy

    def unpack(_, directory):
        archive = sh([os.path.join(place.ROOT, "scripts/fetch"), project,
                      "--path"]).stdout.splitlines()[-1]
        done = sh(["tar", "xf", archive, "-C", directory, "--strip-components=1"])
        if done.returncode:
            raise Broken(done.stdout)
    return unpack


def static(report):
    """The part of make check-series that takes seconds, and figures that only go down."""
    found = sh([os.path.join(place.ROOT, "scripts/check-series"), "linux", "--static"])
    wrong = [line for line in found.stdout.splitlines() if not line.endswith("names=ok")]
    report.result(not found.returncode and not wrong,
                  "series: no patch for Linux takes what a later one brings",
                  "\n".join(wrong[:20]))
    points = [int(number) for number in re.findall(r" entry-points=(\d+)", found.stdout)]
    lines = [sh(["wc", "-l", os.path.join(place.ROOT, path)]).stdout.split()[0]
             for path in ("include/linux/page_hva.h", "mm/page_hva.h")]
    core = sh([os.path.join(place.ROOT, "scripts/series"), "linux", "--lines"]).stdout
    shape = SHAPES[os.environ.get("LINUX_SERIES") or "6.12"]
    figures = [points[-1], points[FIRST_PART - 1], int(core.split()[0]), *map(int, lines)]
    report.result(all(now <= limit for now, limit in zip(figures, shape)),
                  "series: entry points (and of part 1), lines in existing files, headers: "
                  + ", ".join(f"{now} of {limit}" for now, limit in zip(figures, shape)))


def applies(report, project):
    """git am onto the archive gives the tree that was built, file by file."""
    work = os.path.join(place.BUILD, "apply", project)
    built = os.path.realpath(os.path.join(place.BUILD, project))
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    touched = set()
    for mail in mails(project):
        with open(mail, encoding="utf-8") as file:
            touched |= set(re.findall(r"^(?:---|\+\+\+) [ab]/(\S+)", file.read(),
                                      re.MULTILINE))
    source_of(project)(touched, work)
    git = ["git", "-C", work, "-c", "user.name=page_hva", "-c",
           "user.email=page_hva@example.invalid"]
    # Only what the series touches needs to be under git; the rest is compared below.
    present = [path for path in touched if os.path.exists(os.path.join(work, path))]
    for command in (["init", "-q"], ["add", "-f", *present],
                    ["commit", "-qm", "pristine"], ["am", "-q", *mails(project)]):
        done = sh([*git, *command])
        if done.returncode:
            report.failed(f"series: git am applies the {project} series", done.stdout)
            return
    report.passed(f"series: git am applies the {project} series")
    if os.environ.get(f"{project.upper()}_SRC"):
        different = [path for path in touched if not filecmp.cmp(
            os.path.join(work, path), os.path.join(built, path), shallow=False)]
    else:
        found = sh(["diff", "-rq", "--no-dereference", "--exclude=.git", work, built])
        different = found.stdout.splitlines() if found.returncode else []
    report.result(not different, f"series: the result is build/{project}",
                  "\n".join(different[:20]))
    shutil.rmtree(work)


def checkpatch(report, project):
    result = sh(["perl", "scripts/checkpatch.pl", *CHECKPATCH[project], *mails(project)],
                cwd=os.path.join(place.BUILD, project))
    complaints = re.findall(r"^(?:ERROR|WARNING):.*(?:\n#.*)*", result.stdout,
                            re.MULTILINE)
    # Matters of taste, which --strict adds, are shown and do not fail.
    for taste in re.findall(r"^CHECK:.*(?:\n#.*)*", result.stdout, re.MULTILINE):
        print("#  ", " ".join(taste.split()))
    checked = len(re.findall(r"lines checked", result.stdout))
    report.result(not complaints and checked == len(mails(project)),
                  f"series: {project}'s checkpatch finds no error and no warning",
                  "\n".join(complaints[:40]) or f"only {checked} patches were checked")
