"""A disk for one guest over an image that stays unchanged.

QEMU's own snapshot=on is not used where memory is counted: its temporary file goes through the
page cache of the host, whatever cache= says.
"""

import os
import struct

CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS
FORMAT = 0xe2792aca                     # the header extension that names the image's format


def create(path, image):
    """Write an empty qcow2 file over a raw image (docs/interop/qcow2.txt of QEMU)."""
    image = os.path.abspath(image)
    size = os.path.getsize(image)
    entries = -(-size // (CLUSTER * CLUSTER // 8))
    if entries * 8 > CLUSTER:
        raise ValueError(f"{image} is too large")
    # Clusters: header, table of reference counts, their block, and table of tables.
    extension = struct.pack(">II8sII", FORMAT, 3, b"raw", 0, 0)
    name = os.fsencode(image)
    header = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 104 + len(extension), len(name),
                         CLUSTER_BITS, size, 0, entries, 3 * CLUSTER, CLUSTER, 1, 0, 0,
                         0, 0, 0, 4, 104)
    with open(path, "wb") as file:
        file.write(header + extension + name)
        file.seek(CLUSTER)
        file.write(struct.pack(">Q", 2 * CLUSTER))
        file.seek(2 * CLUSTER)
        file.write(struct.pack(">4H", 1, 1, 1, 1))
        file.truncate(4 * CLUSTER)
