"""Fixed places of what make builds."""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(ROOT, "scripts"))
from project import BUILD                                               # noqa: E402

LOGS = os.path.join(BUILD, "logs")

# As scripts/lib.sh does it: Debian's users have not got mke2fs in theirs.
os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"


def out(name):
    return os.path.join(BUILD, "out", name)


def result(name):
    return os.path.join(BUILD, "results", name)


QEMU = out("qemu-system-s390x")
KERNEL = out("bzImage")
INITRD = out("initramfs.cpio.gz")
IMAGE = out("tree.img")


# KVM as the host: what tests/harness/hercules.py starts.
HERCULES = os.path.join(BUILD, "hercules-out", "bin", "hercules")
KVM_INITRD = out("kvm-host.cpio.gz")


def kernel(name):
    """The kernel that scripts/kernel built under that name."""
    return os.path.join(BUILD, f"kernel-{name}", "arch/s390/boot/bzImage")
