"""A guest under stress moves, is saved and loaded, while the host takes its pages."""

import contextlib
import os
import subprocess
import tempfile
import time

from harness import place
from harness.copies import migrated
from harness.guest import PATIENCE, Guest, GuestError
from harness.qmp import QmpError
from steps.stress import Discarder

SECONDS, BEFORE = 8, 2          # of stress, and of these before it moves
STRESS = f"stress --dir /mnt/write --seconds {SECONDS} --seed 1 --hang 60"
FREEZES = "cannot be discarded while it migrates"
DISABLED = "Discarding of guest memory is disabled"
KVM = "was told that its host is"


class Storm(Discarder):
    """Discards all the time; that it is refused for a while is no error, but noted."""

    def __init__(self, guest):
        super().__init__(guest, ("volatile", "unused"), every=0.1)
        self.refusals = set()

    def refused(self, error):
        self.refusals.add(str(error).partition(": ")[2])


class Destination(Guest):
    """A QEMU that waits for a guest."""

    def __init__(self, *arguments, options=(), **settings):
        super().__init__(*arguments, options=[*options, "-incoming", "defer"], **settings)

    def wait_for_boot(self, timeout):
        pass


def machine(kind, name, disk, properties=("policy=none",), options=()):
    words = [word for value in properties for word in ("-global", f"s390-cmma.{value}")]
    drive = ["-drive", f"file={disk},if=none,id=disk,format=qcow2",
             "-device", "virtio-blk-ccw,drive=disk"]
    return kind(place.QEMU, place.KERNEL, place.INITRD, append="page_hva=on", smp=2,
                memory="512M", options=[*words, *drive, *options],
                log=os.path.join(place.LOGS, f"migration-{name}.log"))


@contextlib.contextmanager
def overlay():
    """A disk that two QEMUs can use one after the other, and that holds snapshots."""
    with tempfile.TemporaryDirectory(prefix="migration.", dir=place.BUILD) as tmp:
        path = os.path.join(tmp, "disk.qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f",
                        "qcow2", "-F", "raw", "-b", os.path.abspath(place.IMAGE), path],
                       check=True)
        yield path


def begin(guest, command=STRESS):
    guest.hurry()
    guest.ctl.sendall(command.encode() + b"\n")


def finish(guest, said=b"", seconds=SECONDS + 120):
    """The end of what was begun, maybe in another QEMU, whose guest said this meanwhile."""
    guest.buffer = said + guest.buffer
    deadline = time.monotonic() + seconds * PATIENCE
    text = guest._read_until(b"\n@@done ", deadline, STRESS)
    status = int(guest._read_until(b"\n", deadline, STRESS))
    guest.check_console()
    if status:
        raise GuestError(f"the stress ended with status {status}: {text.decode()[-2000:]}")


def rest(guest):
    """What a guest that has gone said before."""
    guest.ctl.setblocking(False)
    said = guest.buffer
    with contextlib.suppress(BlockingIOError):
        while data := guest.ctl.recv(65536):
            said += data
    return said


def facts(guest):
    said = guest.qmp.command("x-query-s390-cmma")
    return said["pages"], said["discard-faults"]


def capabilities(guest, **which):
    guest.qmp.command("migrate-set-capabilities", capabilities=[
        {"capability": name.replace("_", "-"), "state": state} for name, state in which.items()])


def moves(report, name, source=("policy=none",), there=("policy=none",), options=(), *,
          by_file=False, postcopy=False, refused=None):
    """From one QEMU to another, during a storm on both sides."""
    title = f"migration: {name}"
    with report.test(title), overlay() as disk, machine(Guest, "from", disk, source) as guest:
        begin(guest)
        with Storm(guest) as storm:
            time.sleep(BEFORE)
            with machine(Destination, "to", disk, there, options) as other:
                if postcopy:
                    capabilities(guest, postcopy_ram=True)
                    capabilities(other, postcopy_ram=True)
                uri = ("file:" + os.path.join(os.path.dirname(disk), "state") if by_file else
                       "unix:" + os.path.join(other.tmp, "migration"))
                if not by_file:
                    other.qmp.command("migrate-incoming", uri=uri)
                guest.qmp.command("migrate-set-parameters", **{"max-bandwidth": 1 << 34})
                try:
                    guest.qmp.command("migrate", uri=uri)
                    if postcopy:
                        guest.qmp.command("migrate-start-postcopy")
                        with Storm(other) as early:
                            migrated(guest)
                        refusals = early.refusals
                    migrated(guest)
                except (QmpError, GuestError) as error:
                    assert refused, f"{error}"
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        other.process.wait(5)
                    with open(other.log + ".qemu", encoding="utf-8") as file:
                        words = f"{error} {file.read()}"
                    assert refused in words, words
                    # The guest goes on where it was.
                    if guest.qmp.command("query-status")["status"] != "running":
                        guest.qmp.command("cont")
                    storm.stop()
                    finish(guest)
                    return
                assert not refused, "it was not refused"
                storm.stop()
                if by_file:
                    other.qmp.command("migrate-incoming", uri=uri)
                migrated(other)
                if other.qmp.command("query-status")["status"] != "running":
                    other.qmp.command("cont")
                before = facts(other)
                with Storm(other) as later:
                    finish(other, rest(guest))
                    # On a busy machine that was over before the guest moved.
                    other.run(STRESS.replace(f"seconds {SECONDS}", "seconds 2"), timeout=120)
                pages, faults = facts(other)
                assert faults, f"no discard fault there: it shows nothing ({pages})"
                strange = {text for text in storm.refusals | later.refusals
                           if not any(known in text for known in (FREEZES, DISABLED))}
                if "policy=none" in there and not options:
                    assert later.taken and not strange, f"{later.taken} {strange}"
                note = f"{before[0]['vz']} discarded before, {faults} faults after"
                if postcopy:
                    assert any(DISABLED in text for text in refusals), f"{refusals}"
                    note += ", refused meanwhile"
                print(f"#   {name}: {note}")


def saved_and_loaded(report):
    """savevm and loadvm in one QEMU: what it was before comes back, states included."""
    with report.test("migration: savevm and loadvm under stress, in a storm"), \
            overlay() as disk, machine(Guest, "saved", disk) as guest:
        begin(guest)
        with Storm(guest) as storm:
            time.sleep(BEFORE)
            for _ in range(2):
                said = guest.qmp.command("human-monitor-command", **{"command-line": "savevm one"})
                assert not said, said
                time.sleep(1)
                said = guest.qmp.command("human-monitor-command", **{"command-line": "loadvm one"})
                assert not said, said
            finish(guest)
        assert storm.taken and facts(guest)[1], "it shows nothing"


def traffic(report):
    """Discarded blocks are not sent: what that saves."""
    with report.test("migration: discarded blocks are not sent"), overlay() as disk, \
            machine(Guest, "traffic", disk) as guest:
        guest.run("cd /mnt/tree && find . -type f -size +31k | head -3000 | xargs cat >/dev/null",
                  timeout=200)
        guest.settle()
        sent = []
        for turn in range(2):
            path = os.path.join(os.path.dirname(disk), f"state-{turn}")
            guest.qmp.command("stop")
            guest.qmp.command("migrate", uri=f"file:{path}")
            migrated(guest)
            sent.append(guest.qmp.command("query-migrate")["ram"]["transferred"])
            guest.qmp.command("cont")
            if not turn:
                taken = guest.qmp.command("x-s390-cmma-discard", what="volatile")["discarded"]
        less = (sent[0] - sent[1]) / 4096
        print(f"#   {sent[0] >> 20} MiB sent; {sent[1] >> 20} MiB when {taken >> 8} MiB were "
              "discarded before")
        # Content that was all zero is sent as one byte either way.
        assert less > 0.9 * taken, f"{less:.0f} pages less, with {taken} discarded"


def background(report):
    """A background snapshot: discards are refused meanwhile, and it can be loaded."""
    with report.test("migration: a background snapshot, and what it refuses"), \
            overlay() as disk, machine(Guest, "background", disk) as guest:
        begin(guest)
        time.sleep(BEFORE)
        path = os.path.join(os.path.dirname(disk), "state")
        try:
            capabilities(guest, background_snapshot=True)
        except QmpError as error:
            print(f"#   this host can not: {error}")
            finish(guest)
            return
        guest.qmp.command("migrate-set-parameters", **{"max-bandwidth": 1 << 24})
        guest.qmp.command("migrate", uri=f"exec:cat >{path}")
        refusals = set()
        while guest.qmp.command("query-migrate").get("status") not in ("completed", "failed"):
            with contextlib.suppress(QmpError):
                try:
                    guest.qmp.command("x-s390-cmma-discard", what="volatile")
                except QmpError as error:
                    refusals.add(str(error).partition(": ")[2])
            time.sleep(0.05)
        migrated(guest)
        assert any(DISABLED in text for text in refusals), f"{refusals}"
        finish(guest)


HUGE = "/proc/sys/vm/nr_hugepages"


def number_of_huge_pages(new=None):
    with open(HUGE, "r+" if new is not None else "r", encoding="ascii") as file:
        if new is not None:
            file.write(str(new))
            file.seek(0)
        return int(file.read())


@contextlib.contextmanager
def huge_pages(count):
    """Let the machine have so many more, or say why not."""
    before = number_of_huge_pages()
    try:
        more = number_of_huge_pages(before + count) - before
    except PermissionError as error:
        more, why = 0, f"{error}"
    else:
        why = f"the machine has memory for {more} huge pages only"
    try:
        yield None if more >= count else why
    finally:
        if more:
            number_of_huge_pages(before)


def to_huge_pages(report):
    name = "to memory of huge pages"
    with huge_pages(264) as why:
        if why:
            report.skipped(f"migration: {name}", why)
            return
        moves(report, name, ("policy=random", "percent=30"),
              options=("-object", "memory-backend-memfd,id=s390.ram,size=512M,hugetlb=on",
                       "-machine", "memory-backend=s390.ram"))


def quick(report):
    moves(report, "to another QEMU by a socket, in a storm")
    moves(report, "to policy kvm: refused, the source goes on", there=("policy=kvm",),
          refused=KVM)


def everything(report):
    quick(report)
    moves(report, "to a file and from it", by_file=True)
    moves(report, "from policy random to always", ("policy=random", "percent=30"),
          ("policy=always",))
    moves(report, "from policy always to pressure", ("policy=always",), ("policy=pressure",))
    moves(report, "to memory that can not be discarded", ("policy=random", "percent=30"),
          options=("-object", "memory-backend-memfd,id=s390.ram,size=512M,share=on",
                   "-machine", "memory-backend=s390.ram"))
    to_huge_pages(report)
    moves(report, "from policy kvm to none: refused", ("policy=kvm",), refused=KVM)
    moves(report, "from poison: refused at once", ("policy=random", "poison=on"),
          refused="leaves garbage in guest memory")
    moves(report, "to poison", there=("policy=random", "poison=on"))
    moves(report, "by postcopy, which lets nobody discard meanwhile", postcopy=True)
    saved_and_loaded(report)
    traffic(report)
    background(report)
