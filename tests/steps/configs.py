"""Kernels of random configurations and of other compilers, and the documentation."""

import os
import random
import re
import subprocess

from harness import place
from harness.guest import Guest

# What is ours, what changes the code that we hook into, and what checks.
SYMBOLS = """PAGE_HVA PAGE_HVA_KUNIT_TEST KUNIT SWAP MEMCG CGROUPS SHMEM TMPFS KSM MIGRATION COMPACTION
TRANSPARENT_HUGEPAGE READ_ONLY_THP_FOR_FS HUGETLBFS MEMORY_HOTPLUG MEMORY_HOTREMOVE
MEMORY_FAILURE CMA NUMA LRU_GEN LRU_GEN_ENABLED IDLE_PAGE_TRACKING PAGE_IDLE_FLAG DAMON
DAMON_VADDR DAMON_PADDR USERFAULTFD IO_URING AIO SECRETMEM ZSWAP ZRAM ZSMALLOC
KVM PGSTE KEXEC CRASH_DUMP PROC_KCORE PROC_PAGE_MONITOR KPROBES UPROBES PERF_EVENTS FTRACE
FUNCTION_TRACER ENABLE_DEFAULT_TRACERS EVENT_TRACING PREEMPT PREEMPT_VOLUNTARY PREEMPT_NONE
DEBUG_KERNEL DEBUG_VM DEBUG_VM_PGFLAGS DEBUG_VM_RB PAGE_OWNER PAGE_EXTENSION PAGE_POISONING
PAGE_TABLE_CHECK DEBUG_PAGEALLOC PROVE_LOCKING DEBUG_ATOMIC_SLEEP DEBUG_LIST DEBUG_FS
SPARSEMEM_VMEMMAP DEFERRED_STRUCT_PAGE_INIT SLUB_DEBUG INIT_ON_ALLOC_DEFAULT_ON
INIT_ON_FREE_DEFAULT_ON HARDENED_USERCOPY FORTIFY_SOURCE MODULES JUMP_LABEL COREDUMP
VM_EVENT_COUNTERS CC_OPTIMIZE_FOR_SIZE PROFILING BLK_CGROUP
CHECKPOINT_RESTORE MEMFD_CREATE XFS_FS BTRFS_FS EXT4_FS_POSIX_ACL""".split()
# A path in the kernel's tree is a page of ours.
PAGES = ["mm", "arch/s390"]
# What clang says of include/asm-generic/io.h in each file of any kernel without PCI.
OF_OTHERS = "-Wnull-pointer-arithmetic"


def warnings(name):
    """Lines of the log of a build that complain."""
    with open(os.path.join(place.LOGS, f"kernel-{name}.log"), encoding="utf-8",
              errors="replace") as log:
        return [line.strip() for line in log
                if re.search(r"\bwarning: |\berror: |WARNING: ", line, re.IGNORECASE)
                and OF_OTHERS not in line]


def succeeds(command, **more):
    status = subprocess.run(command, cwd=place.ROOT, stdin=subprocess.DEVNULL, check=False,
                            **more).returncode
    assert not status, f"{' '.join(command)} ended with status {status}"


def build(name, *fragments, compiler=""):
    succeeds(["scripts/kernel", name, *fragments], env=dict(os.environ, COMPILER=compiler))
    found = warnings(name)
    assert not found, "\n".join(found[:5])


def boots(name):
    """It boots, with page_hva=on if it has that, and reads what is on the disk."""
    with open(os.path.join(place.BUILD, f"kernel-{name}", ".config"), encoding="utf-8") as file:
        ours = "CONFIG_PAGE_HVA=y\n" in file.read()
    with Guest(place.QEMU, place.kernel(name), place.INITRD, drive=place.IMAGE,
               append="page_hva=on",
               options=("-global", "s390-cmma.policy=always"),
               log=os.path.join(place.LOGS, f"{name}.log")) as guest:
        for _ in range(2):
            guest.run("cd /mnt && treesum read sums tree/mm/ && treesum mmap sums tree/kernel/")
        made = guest.qmp.command("x-query-s390-cmma")["essa"][3]
        assert bool(made) == ours, f"{made} pages became volatile"


def random_fragment(seed):
    """A file with a choice for each symbol; Kconfig drops what does not go together."""
    rng = random.Random(seed)
    path = os.path.join(place.BUILD, "random", f"{seed}.config")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    density = rng.choice((0.3, 0.5, 0.8))
    text = "".join(f"#try CONFIG_{symbol}={'y' if rng.random() < density else 'n'}\n"
                   for symbol in SYMBOLS if symbol != "PAGE_HVA")
    text += f"#try CONFIG_PAGE_HVA={'n' if rng.random() < 0.15 else 'y'}\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def randomised(report, number, seed):
    for each in range(seed, seed + number):
        with report.test(f"random configuration {each} builds without a warning and boots"):
            build("random", "base", "hva", random_fragment(each))
            boots("random")


def compilers(report):
    for compiler in ("gcc-14", "clang-19"):
        for name, fragments in (("", ("base", "hva", "debug", "kunit")),
                                (" without CONFIG_PAGE_HVA", ("base", "off"))):
            with report.test(f"{compiler} builds it{name} without a warning, and it boots"):
                kernel = f"{compiler}{'-off' * bool(name)}"
                build(kernel, *fragments, compiler=compiler)
                boots(kernel)


def documentation(report):
    """make htmldocs: no warning about a file of ours."""
    with report.test("make htmldocs builds our pages without a warning"):
        log = os.path.join(place.LOGS, "htmldocs.log")
        with open(log, "w", encoding="utf-8") as said:
            succeeds(["scripts/other-debian", "make", "-C", os.path.join(place.BUILD, "linux"),
                      "O=" + os.path.join(place.BUILD, "htmldocs"), "ARCH=s390",
                      "SPHINXDIRS=" + " ".join(PAGES), "htmldocs"], stdout=said, stderr=said)
        with open(log, encoding="utf-8", errors="replace") as said:
            found = [line for line in said if "page_hva" in line and
                     re.search("warning|error", line, re.IGNORECASE)]
        assert not found, "".join(found)
        for page in PAGES:
            path = os.path.join(place.BUILD, "htmldocs/Documentation/output", page,
                                "page_hva.html")
            assert os.path.exists(path), f"{path} was not made"
