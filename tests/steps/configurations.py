"""Other kernels, hosts and switches than those of the story."""

import os
import re
import shutil
import subprocess

from harness import place
from harness.guest import Guest, GuestError
from harness.hercules import Machine

STOCK = shutil.which("qemu-system-s390x")
HERCULES = shutil.which("hercules")
SMOKE = "cd /mnt && treesum read sums tree/mm/ && treesum mmap sums tree/kernel/"


def boot(name, qemu=place.QEMU, kernel=place.KERNEL, **options):
    return Guest(qemu, kernel, place.INITRD, drive=place.IMAGE,
                 log=os.path.join(place.LOGS, f"{name}.log"), **options)


def console_says(guest, pattern):
    if not re.search(pattern, guest.console.text()):
        raise GuestError(f"the console ({guest.log}) does not say '{pattern}'")


def never_volatile(guest):
    """By the host's own count, the guest made no page volatile."""
    answer = guest.qmp.command("x-query-s390-cmma")
    assert answer["essa"][3] == answer["essa"][4] == 0, f"ESSA 3, 4: {answer['essa']}"
    assert answer["pages"]["vr"] == answer["pages"]["vz"] == 0, f"{answer['pages']}"


def unpatched(report):
    with report.test("CONFIG_PAGE_HVA=n boots and has no page_hva"):
        with boot("off", kernel=place.kernel("off"), append="page_hva=on") as guest:
            guest.run(SMOKE)
            guest.run("! test -e /sys/kernel/debug/page_hva")
            never_volatile(guest)
    with report.test("page_hva=off makes nothing volatile, and is the default"):
        for append in ("", "page_hva=off"):
            with boot("page_hva-off", append=append) as guest:
                guest.run(SMOKE)
                never_volatile(guest)
    with report.test("cmma=off keeps page_hva=on off"):
        with boot("cmma-off", append="cmma=off page_hva=on") as guest:
            guest.run(SMOKE)
            console_says(guest, "page_hva: refused")
            never_volatile(guest)
    with report.test("a host without ESSA: page_hva=on declines and says so"):
        with boot("cmm-off", cpu="max,cmm=off,cmmnt=off",
                  append="page_hva=on") as guest:
            guest.run(SMOKE)
            console_says(guest, "page_hva: refused: no ESSA")
    if not STOCK:
        report.skipped("Debian's QEMU boots the kernel", "it is not installed")
        return
    with report.test("Debian's QEMU: page_hva=on declines and says so"):
        with boot("stock", qemu=STOCK, append="page_hva=on") as guest:
            guest.run(SMOKE)
            console_says(guest, "page_hva: refused")


def hercules(report):
    """A machine that nobody here has made, without ESSA; it is a z10, as is this kernel."""
    name = "Debian's Hercules: page_hva=on declines, there is no ESSA"
    if not HERCULES:
        report.skipped(name, "it is not installed")
        return
    with report.test(name):
        initrd = place.out("hercules.cpio.gz")
        # An archive that follows another one replaces files of it.
        subprocess.run(f"(cat {place.INITRD}; cd {place.ROOT}/tests/kvm; echo init | "
                       f"cpio -o -H newc -R 0:0 --quiet | gzip -9n) >{initrd}",
                       shell=True, check=True)
        with Machine(HERCULES, place.kernel("debug"), initrd,
                     append="page_hva=on kunit.enable=0", ready=None,
                     log=os.path.join(place.LOGS, "hercules.log")) as machine:
            said = machine.logged("@@ready", 300)
            assert "page_hva: refused: no ESSA" in said, said


def kunit(report, kernel="debug", append="page_hva=on page_poison=on"):
    """The debug kernel runs its suites at boot; each case is a result here."""
    name = "KUnit"
    try:
        with boot("kunit", kernel=place.kernel(kernel), append=append) as guest:
            text = guest.console.text()
    except GuestError as error:
        report.failed(name, str(error))
        return
    suites = re.findall(r"\] ok \d+ (page_hva\S*)$", text, re.MULTILINE)
    cases = re.findall(r"\]     (not )?ok \d+ (\S+)(?: # SKIP ?(.*))?$", text,
                       re.MULTILINE)
    for bad, case, skip in cases:
        if skip:
            report.skipped(f"{name}: {case}", skip)
        else:
            report.result(not bad, f"{name}: {case}")
    report.result(suites and cases, f"{name}: the suites ran to their end",
                  f"no 'ok N page_hva' in {guest.log}")
