"""Large folios of the page cache: volatile, discarded and made stable as a whole."""

from harness import place
from harness.guest import GuestError
from steps.filesystems import KINDS, Machine, counter, setup, teardown

SKIP = "/sys/kernel/debug/page_hva/skip"
SPLIT = "/sys/kernel/debug/split_huge_pages"
FILE = "/fs/fixed0"     # of erofs: 4 MiB
# What looks at the pages of a huge mapping (tests/guest/locked.c), and the hook for it.
HUGE_HOOKS = {"huge-pipe": "make_stable@gup_fast_pmd_leaf",
              "huge-readv": "make_stable@follow_pmd_mask"}
BLOCKS = [61, 62]       # of those, the host takes so many: one of them ends within a folio


def read_file(guest):
    guest.run("echo 1 >/proc/sys/vm/drop_caches")
    for _ in range(2):
        text = guest.run(f"sha512sum {FILE}")
    return text


def gone_and_taken(guest, blocks):
    """How many pages leave the page cache when the host takes some, and is met?"""
    setup(guest, KINDS["erofs"])
    text = read_file(guest)
    before = counter(guest, "dropped")
    guest.settle()
    taken = guest.qmp.command("x-s390-cmma-discard", what="volatile",
                              count=blocks)["discarded"]
    assert taken == blocks, f"the host took {taken} blocks"
    assert guest.run(f"sha512sum {FILE}") == text, "the file reads as something else"
    gone = counter(guest, "dropped") - before
    # What was not needed again is not of the file.
    taken -= guest.qmp.command("x-query-s390-cmma")["pages"]["vz"]
    teardown(guest, KINDS["erofs"])
    return gone, taken


def split(guest):
    """What was volatile is read after it was split, and the host took what it could."""
    setup(guest, KINDS["erofs"])
    text = read_file(guest)
    guest.settle()
    guest.run(f"echo 1 >{SPLIT}")
    guest.qmp.command("x-s390-cmma-discard", what="volatile")
    status, again = guest.run(f"sha512sum {FILE} 2>&1", check=False)
    if status or again != text:
        raise GuestError(f"FAIL after a split: {again.strip()}")
    teardown(guest, KINDS["erofs"])


def lock_a_part(guest):
    """Pages of large folios that are locked, but not as a whole."""
    setup(guest, KINDS["xfs"])
    guest.run("locked start mlock-part /fs/locked")
    guest.qmp.command("x-s390-cmma-discard", what="volatile")
    guest.run("locked end mlock-part")
    teardown(guest, KINDS["xfs"])


def lock_race(guest, seconds):
    """A part of a large folio is locked as it turns volatile."""
    setup(guest, KINDS["xfs"])
    guest.run("dd if=/dev/urandom of=/fs/race bs=1M count=1 2>/dev/null; sync; "
              "echo 1 >/proc/sys/vm/drop_caches; cat /fs/race >/dev/null")
    guest.run(f"lockrace /fs/race {seconds}", timeout=seconds + 60)
    teardown(guest, KINDS["xfs"])


def huge_mapping(way):
    """A folio that one page table entry maps is volatile; GUP of it finds what is gone."""
    def act(guest):
        setup(guest, KINDS["xfs"])
        guest.run(f"locked start {way} /fs/locked")
        found = int(guest.run("awk '/^FilePmdMapped/ { print $2 }' /proc/meminfo"))
        taken = guest.qmp.command("x-s390-cmma-discard", what="volatile")["discarded"]
        guest.run(f"locked end {way}")
        assert found, "no file page is mapped by a huge entry"
        assert taken >= 256, f"the host took {taken} blocks"
        teardown(guest, KINDS["xfs"])
    return act


def mapped(guest):
    """What is mapped twice, and was read in large folios: (pages in them, volatile, clean)."""
    setup(guest, KINDS["xfs"])
    guest.run("dd if=/dev/urandom of=/fs/mapped bs=1M count=8 2>/dev/null; sync; "
              "echo 1 >/proc/sys/vm/drop_caches; cat /fs/mapped >/dev/null; touch /tmp/go; "
              "mapped /fs/mapped hold 2048 /tmp/go >/tmp/answer & "
              "while ! grep -q sum /tmp/answer; do sleep 0.1; done")
    guest.settle()
    counts = {key: int(value) for key, _, value in
              (line.rpartition(" ") for line in guest.run("cachemap").splitlines())}
    guest.run("rm /tmp/go; while pidof mapped >/dev/null; do sleep 0.1; done")
    teardown(guest, KINDS["xfs"])
    return (counts["folios large-mapped"], counts["mapped volatile"],
            sum(value for key, value in counts.items() if key.startswith("mapped ")))


def large_folios(report, kernel=None):
    with Machine("none", kernel or place.kernel("fs"), "fs-large") as machine:
        guest = machine.running()
        with report.test("large folios: one discarded block discards the folio"):
            counts = [gone_and_taken(guest, blocks) for blocks in BLOCKS]
            for gone, taken in counts:
                print(f"#   {taken} blocks were taken, {gone} pages left the page cache")
            assert any(gone > taken for gone, taken in counts), "are there large folios?"
        with report.test("large folios: a locked part of one does not fault"):
            lock_a_part(guest)
        with report.test("large folios: what is split is stable"):
            split(guest)
        with report.test("large folios: mapped ones are volatile"):
            large, volatile, clean = mapped(guest)
            print(f"#   {volatile} of {clean} pages; {large} of them are in large folios")
            assert large > 1500 and volatile > 0.95 * clean
        for way in HUGE_HOOKS:
            with report.test(f"large folios: a huge mapping is volatile: {way}"):
                huge_mapping(way)(guest)
        with report.test("large folios: it is noticed when a locked part is volatile"):
            fails_without(guest, "make_stable@mlock_*", lock_a_part)


def fails_without(guest, hook, act):
    guest.run(f"echo '{hook}' >{SKIP}")
    try:
        act(guest)
    except GuestError as error:
        print(f"#   {str(error).strip().splitlines()[-1][:120]}")
        return
    raise AssertionError(f"without the hook {hook}, nothing fails")
