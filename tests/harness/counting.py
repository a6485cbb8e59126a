"""The TCG plugin that counts instructions, between marks of a program or when it is asked."""

import os
import socket
import subprocess

from . import place

SOURCE = os.path.join(place.ROOT, "tests/plugin/count.c")
HEADERS = os.path.join(place.BUILD, "qemu/include/qemu")


def plugin(headers=HEADERS):
    """The plugin, built if it is not there; headers is where qemu-plugin.h is."""
    library = os.path.join(place.BUILD, "libcount.so")
    if (os.path.exists(library) and headers == HEADERS
            and os.path.getmtime(library) > os.path.getmtime(SOURCE)):
        return library
    flags = subprocess.run(["pkg-config", "--cflags", "glib-2.0"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.split()
    subprocess.run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", *flags, f"-I{headers}", "-o",
                    library, SOURCE], check=True)
    return library


def parse(line):
    """(number of the mark, {kind: how many})"""
    words = line.split()
    return int(words[1]), {key: int(value) for key, value in zip(words[2::2], words[3::2])}


def marks(name):
    """Each mark that the guest met so far: (its number, {kind: how many})."""
    with open(name, encoding="ascii") as file:
        yield from map(parse, file)


class Asked:
    """Asks the plugin of a guest that runs, which got ask=PATH."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r", encoding="ascii")

    def __call__(self):
        """{kind: how many so far}"""
        self.socket.sendall(b"\n")
        return parse(self.lines.readline())[1]

    def close(self):
        self.lines.close()
        self.socket.close()


def essa(count):
    return sum(count[f"essa{operation}"] for operation in range(16))
