"""A small client for QEMU's machine protocol."""

import json
import socket
import threading
import time


class QmpError(Exception):
    """QEMU answered a command with an error."""


def connected(path, deadline, process=None):
    """A socket to what QEMU makes at path: the file is there before QEMU listens, and may
    be there when the process has ended."""
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
            return sock
        except (ConnectionRefusedError, FileNotFoundError):
            sock.close()
            if time.monotonic() > deadline or process and process.poll() is not None:
                raise
            time.sleep(0.05)


class Qmp:
    def __init__(self, path, timeout=60, process=None):
        self.lock = threading.Lock()    # several threads may use it
        self.sock = connected(path, time.monotonic() + timeout, process)
        self.sock.settimeout(timeout)
        self.stream = self.sock.makefile("rw", encoding="utf-8")
        self._read()                      # the greeting
        self.command("qmp_capabilities")

    def _read(self):
        line = self.stream.readline()
        if not line:
            raise QmpError("QEMU closed the QMP connection")
        return json.loads(line)

    def command(self, name, **arguments):
        """Run one command and return its result; events are skipped."""
        request = {"execute": name}
        if arguments:
            request["arguments"] = arguments
        with self.lock:
            self.stream.write(json.dumps(request) + "\n")
            self.stream.flush()
            while True:
                answer = self._read()
                if "error" in answer:
                    raise QmpError(f"{name}: {answer['error']['desc']}")
                if "return" in answer:
                    return answer["return"]

    def close(self):
        self.sock.close()
