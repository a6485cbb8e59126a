"""The file systems of Linux on every policy of the host."""

import os
import re

from harness import place
from harness.guest import Guest, GuestError
from harness.states import PAGE
from steps import progress
from steps.stress import POLICIES, Discarder, StressFailed, properties_of

SECONDS = 4
SEED = 1                # of the files that scripts/fixed-files made
DISK = "/dev/disk-fixed"
SAMPLE = 8 << 20        # bytes of the file whose pages are counted
BIG_PARTS = "0 1 2 2 0 1 1 2 0 0 2 1 2 1 0 0"   # the same for private_data()
BIG = 64 << 20
DISKS = ["ext4", "ext4-1k", "xfs", "xfs-1k", "btrfs", "erofs", "erofs-lz4", "squashfs",
         "fixed0", "fixed1", "fixed2", "stripes"]
DEVICES = "fixed0 fixed1 fixed2 stripes"


class Kind:
    """One way to keep files: how to set it up, and where stress finds them.

    outside is where the files are that stress only reads; the others go to directory.
    volatile is the least share of a file's pages that are volatile once it was read
    again; 0: there must be no such page; None: it can not be told.
    """

    def __init__(self, setup, directory="/fs", outside=None, tree=None, volatile=0.95,
                 teardown="umount /fs"):
        self.setup = "mkdir -p /fs && " + setup
        self.directory = directory
        self.outside = outside
        self.tree = tree
        self.volatile = volatile
        self.teardown = teardown


def disk(kind, name=None, options="-o noatime"):
    return f"mount -t {kind} {options} /dev/disk-{name or kind} /fs"


def read_only(kind, name=None):
    """Files that never change; what stress writes goes to a tmpfs."""
    return Kind(f"{disk(kind, name)} && mkdir -p /tmp/w", "/tmp/w", outside="/fs",
                tree="/fs")


LOWER = "mkdir -p /lower /upper && mount -t erofs /dev/disk-erofs /lower"
UPPER = "mount -t ext4 -o noatime /dev/disk-ext4 /upper && mkdir -p /upper/u /upper/w"
FUSE = "mkdir -p /source && mount -t ext4 -o noatime /dev/disk-ext4 /source && fusepass"
SERVER_ENDS = "umount /fs && until umount /source; do sleep 1; done"

KINDS = {
    "ext4": Kind(disk("ext4")),
    "ext4-1k": Kind(disk("ext4", "ext4-1k")),
    # The metadata of a mounted file system, in the cache of its block device.
    "ext4-1k, device read": Kind(
        f"{disk('ext4', 'ext4-1k')} && touch /tmp/go && "
        "{ while [ -e /tmp/go ]; do dd if=/dev/disk-ext4-1k of=/dev/null bs=64k "
        "count=500 2>/dev/null; done & }",
        volatile=None, teardown="rm /tmp/go && sleep 2 && umount /fs"),
    "xfs": Kind(disk("xfs")),
    "xfs-1k": Kind(disk("xfs", "xfs-1k")),
    "btrfs": Kind(disk("btrfs")),
    "erofs": read_only("erofs"),
    "erofs-lz4": read_only("erofs", "erofs-lz4"),
    "squashfs": read_only("squashfs"),
    "overlayfs": Kind(f"{LOWER} && {UPPER} && mount -t overlay -o "
                      "lowerdir=/lower,upperdir=/upper/u,workdir=/upper/w none /fs",
                      outside="/fs", tree="/fs",
                      teardown="umount /fs /upper /lower"),
    "fuse": Kind(f"{FUSE} /source /fs", teardown=SERVER_ENDS),
    "fuse, writes cached": Kind(f"{FUSE} -w /source /fs", teardown=SERVER_ENDS),
    # The last close of a block device empties its cache.
    "block device": Kind("mkdir -p /tmp/w /tmp/d && cd /tmp/d && "
                         f"for d in {DEVICES}; do ln -s /dev/disk-$d $d && "
                         "{ sleep 9999 <$d & } ; done",
                         "/tmp/w", outside="/tmp/d", teardown="killall sleep"),
    "tmpfs": Kind("mount -t tmpfs none /fs", volatile=0),
    "ramfs": Kind("mount -t ramfs none /fs", volatile=0),
}
# What 'make check' has time for.
SHORT = {"always": ["ext4-1k", "xfs", "btrfs", "erofs-lz4", "block device"],
         "none": ["xfs"]}


def disk_options():
    """Words for QEMU: all disks, and what is written to them is dropped."""
    for name in DISKS:
        path = place.out(f"fs/{name}.img")
        yield from ("-drive", f"file={path},if=none,id={name},format=raw,snapshot=on",
                    "-device", f"virtio-blk-ccw,drive={name},serial={name}")


def name_disks(guest):
    """Disks get their names in the order in which they happen to be found."""
    guest.run("cd /sys/block && for d in vd*; do ln -s $d /dev/disk-$(cat $d/serial); "
              "done")


class Machine:
    """A guest with all disks, started again when a test broke it; more is for Guest()."""

    def __init__(self, policy, kernel, name, **more):
        self.policy = policy
        self.kernel = kernel
        self.name = name
        self.more = more
        self.guest = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.guest:
            self.guest.stop()
        self.guest = None

    def running(self):
        if not self.guest:
            self.boot()
        return self.guest

    def boot(self):
        options = []
        for setting in properties_of(self.policy, SEED, ()):
            options += ["-global", f"s390-cmma.{setting}"]
        options += disk_options()
        words = {"append": "page_hva=on page_poison=on", **self.more}
        guest = Guest(place.QEMU, self.kernel, place.INITRD, options=options,
                      log=os.path.join(place.LOGS, f"{self.name}.log"), **words)
        self.guest = guest.__enter__()
        name_disks(guest)


def volatile_pages(guest):
    guest.settle()
    return guest.qmp.command("x-query-s390-cmma")["pages"]["vr"]


def counter(guest, name):
    return int(guest.run(f"sed -n 's/^page_hva_{name} //p' /proc/vmstat"))


def setup(guest, kind):
    guest.run(kind.setup)


def teardown(guest, kind):
    guest.run(f"{kind.teardown} && rm -rf /tmp/*", timeout=60)


def share(guest, kind):
    """The share of a file's pages that are volatile once it was read again."""
    setup(guest, kind)
    if kind.outside:
        file, size = f"{kind.outside}/fixed0", 4 << 20
        guest.run("echo 1 >/proc/sys/vm/drop_caches")
        before = volatile_pages(guest)
    else:
        file, size = f"{kind.directory}/sample", SAMPLE
        guest.run(f"cat {DISK}0 {DISK}1 >/dev/null")
        before = volatile_pages(guest)
        guest.run(f"cat {DISK}0 {DISK}1 >{file} && sync", timeout=120)
    for _ in range(2):
        guest.run(f"dd if={file} of=/dev/null bs=64k 2>/dev/null", timeout=60)
    result = (volatile_pages(guest) - before) * PAGE / size
    if not kind.outside:
        guest.run(f"rm {file}")
    teardown(guest, kind)
    return result


def tree_is_right(guest, kind):
    """Every byte of the tree, by read() and mmap(), and programs that are executed."""
    commands = [f"cd {kind.tree} && treesum read sums tree/mm/",
                f"cd {kind.tree} && treesum mmap sums tree/include/linux/m",
                f"{kind.tree}/lib/ld64.so.1 --library-path {kind.tree}/lib "
                f"{kind.tree}/bin/dynamic-hello 42"]
    for command in 2 * commands:
        guest.run(command, timeout=120)


def stress(guest, policy, kind, seconds):
    """The stress program, and a tree that is read, under one policy."""
    words = f"--dir {kind.directory} --seconds {seconds} --seed {SEED} --hang 40"
    if kind.outside:
        words += f" --outside {kind.outside}"
    setup(guest, kind)
    before = counter(guest, "dropped")
    host = Discarder(guest, ("volatile", "unused") if policy == "none" else ())
    with host:
        try:
            guest.run(f"stress {words}", timeout=seconds + 200)
        except GuestError as error:
            raise StressFailed(str(error)) from None
        if kind.tree:
            tree_is_right(guest, kind)
    assert not host.error, f"discard: {host.error}"
    gone = counter(guest, "dropped") - before
    teardown(guest, kind)
    answer = guest.qmp.command("x-query-s390-cmma")
    assert not answer["violations"], f"violations: {answer['violations']}"
    return gone


def filesystems(report, short=False, kernel=None, seconds=SECONDS, only=None):
    kernel = kernel or place.kernel("fs")
    for policy in POLICIES:
        names = only or (SHORT.get(policy, []) if short else KINDS)
        with Machine(policy, kernel, f"fs-{policy}") as machine:
            for name in names:
                one(report, machine, name, seconds)


def one(report, machine, name, seconds):
    kind = KINDS[name]
    text = f"{name}, policy {machine.policy}"
    passed = False
    with report.test(f"file systems: stress on {text}"):
        guest = machine.running()
        if machine.policy == "none" and kind.volatile is not None:
            part = share(guest, kind)
            print(f"#   {name}: {part:.1%} of a file is volatile after a second read")
            if not kind.volatile:
                assert part <= 0.01, f"{part:.1%} of a file can not be read again"
            else:
                assert part >= kind.volatile, f"only {part:.1%} are volatile"
        gone = stress(guest, machine.policy, kind, seconds)
        print(f"#   {text}: {gone} discarded folios removed", flush=True)
        assert gone or kind.volatile == 0, "the guest met no discarded page"
        passed = True
    if not passed:
        machine.stop()


def pinned_pages(report, kernel=None):
    """What a device writes into a page while that is synced and read is not lost.

    btrfs is left out: it fails so with page_hva=off, too ("folio is marked dirty without
    notifying the fs").
    """
    with Machine("none", kernel or place.kernel("fs"), "fs-pinned") as machine:
        for name in ("ext4", "ext4-1k", "xfs", "xfs-1k"):
            passed = False
            with report.test(f"file systems: pinned pages of {name} keep what they need"):
                guest = machine.running()
                setup(guest, KINDS[name])
                guest.run(f"pinned /fs {SECONDS}", timeout=120)
                teardown(guest, KINDS[name])
                passed = True
            if not passed:
                machine.stop()


def private_data(report, kernel=None):
    """What was just written turns volatile, whatever it keeps, and is not read for it."""
    with Machine("none", kernel or place.kernel("fs"), "fs-private") as machine:
        for name in ("ext4", "ext4-1k", "xfs", "xfs-1k", "btrfs"):
            passed = False
            with report.test(f"file systems: {name} pages are volatile once they were "
                             "written and synced"):
                written_then_taken(machine.running(), name)
                passed = True
            if not passed:
                machine.stop()


def discarded_then_read(report, kernel=None):
    """A file that was discarded is read with no more effort than from a cold cache."""
    with Machine("none", kernel or place.kernel("fs"), "fs-again", append="page_hva=on",
                 smp=1, icount=True) as machine:
        for name in DISKS[:DISKS.index("fixed0")]:
            passed = False
            with report.test(f"file systems: reading from {name} again after a full discard "
                             "is no slower than a cold read"):
                guest = machine.running()
                kind = KINDS[name]
                setup(guest, kind)
                file = f"{kind.outside}/fixed0"
                if not kind.outside:
                    file = f"{kind.directory}/again"
                    guest.run(f"cat {DISK}0 >{file}", timeout=120)
                # On others what is only mapped keeps its private data, and is not taken.
                progress.no_slower(guest, file, 4, ("read", "mmap")
                                   if name in ("ext4", "squashfs") else ("read",))
                if not kind.outside:
                    guest.run(f"rm {file}")
                teardown(guest, kind)
                passed = True
            if not passed:
                machine.stop()


def written_then_taken(guest, name):
    kind = KINDS[name]
    setup(guest, kind)
    file = f"{kind.directory}/big"
    guest.run(f"cat {DISK}0 {DISK}1 {DISK}2 >/dev/null")
    before = volatile_pages(guest)
    output = guest.run(f"for i in {BIG_PARTS}; do cat {DISK}$i; done | tee {file} | "
                       "md5sum && sync", timeout=300)
    written = volatile_pages(guest) - before
    print(f"#   {name}: of {BIG // PAGE} pages {written} ({written * PAGE / BIG:.2%}) are "
          "volatile after they were written", flush=True)
    assert written >= BIG // PAGE * 0.99, f"only {written * PAGE / BIG:.2%} are volatile"
    taken = guest.qmp.command("x-s390-cmma-discard", what="volatile")["discarded"]
    assert taken >= BIG // PAGE * 0.99, f"the host took {taken} pages"
    gone = counter(guest, "dropped")
    again = guest.run(f"md5sum <{file}", timeout=300)
    assert again == output, f"sum {output.strip()} was written, {again.strip()} is read"
    gone = counter(guest, "dropped") - gone
    assert gone >= BIG // PAGE * 0.99, f"only {gone} folios were found discarded"
    guest.run(f"rm {file}")
    small_files(guest, name, kind.directory)
    teardown(guest, kind)


def clean(guest):
    """Clean pages of the page cache: how many are volatile, how many there are."""
    counts = dict(re.findall(r"^unmapped ([\w-]+) (\d+)", guest.run("cachemap"), re.MULTILINE))
    return int(counts["volatile"]), sum(map(int, counts.values()))


def small_files(guest, name, directory):
    """Of what is stable after it was written, nothing is of a file.

    Tree blocks of btrfs are in the page cache, too, of an inode that is no file.
    """
    guest.run(f"for i in $(seq 60); do dd if=/dev/urandom of={directory}/small-$i bs=1k "
              "count=$((i * 3)) 2>/dev/null; done && sync", timeout=120)
    guest.settle()
    volatile, pages = clean(guest)
    guest.run(f"cachemap --drop {directory}")
    others, stay = clean(guest)
    volatile, pages = volatile - others, pages - stay
    print(f"#   {name}: {volatile} of {pages} pages of small files are volatile; "
          f"{stay - others} are stable, and of no file", flush=True)
    assert pages > 1000 and volatile >= 0.99 * pages, f"{volatile} of {pages} pages are volatile"


def verified(report, kernel=None):
    """What fs-verity has seen is cached; what comes instead of it is verified again."""
    with Machine("none", kernel or place.kernel("fs"), "fs-verity") as machine:
        for name in ("ext4", "ext4-1k"):
            passed = False
            with report.test(f"file systems: what was verified on {name}, discarded and changed "
                             "on disk is not read"):
                guest = machine.running()
                setup(guest, KINDS[name])
                guest.run(f"cat {DISK}0 >/fs/f && verity enable /fs/f && sync && "
                          "echo 3 >/proc/sys/vm/drop_caches", timeout=120)
                good = guest.run("sha512sum </fs/f", timeout=60)
                # A page of the file, and one of the Merkle tree behind it.
                end = int(guest.run("stat -c %s /fs/f"))
                for offset in (40 * PAGE + 5, -(-end >> 16 << 16) + 5):
                    verified_again(guest, f"/dev/disk-{name}", offset, good)
                guest.run("rm /fs/f")
                teardown(guest, KINDS[name])
                passed = True
            if not passed:
                machine.stop()


def verified_again(guest, device, offset, good):
    guest.run(f"verity flip /fs/f {offset} {device}")
    assert guest.run("sha512sum </fs/f", timeout=60) == good, "it was not from the cache"
    guest.settle()
    assert guest.qmp.command("x-s390-cmma-discard", what="volatile")["discarded"]
    status, said = guest.run("sha512sum </fs/f", check=False, timeout=60)
    assert status, f"what is on the disk now was read as if it were right: {said}"
    guest.run(f"verity flip /fs/f {offset} {device}")
    guest.run("echo 3 >/proc/sys/vm/drop_caches")
    assert guest.run("sha512sum </fs/f", timeout=60) == good, "it is not right again"
