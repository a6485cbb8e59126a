"""One guest: QEMU, its console, its control port and its monitor."""

import contextlib
import os
import select
import shutil
import subprocess
import tempfile
import time

from .console import Console
from .qmp import Qmp, QmpError, connected


# A busy machine may take so many times longer.  What runs in the guest knows it, too: the
# kernel gives what it does not know to init.
PATIENCE = int(os.environ.get("PATIENCE", "1"))


class GuestError(Exception):
    """The guest did not do what it was asked to; the text says how."""


class Started:
    """What is started by a with statement, and stopped at its end or when it fails."""

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()


class Guest(Started):
    """A booted guest; use it in a with statement.

    qemu, kernel and initrd are paths; without initrd, append names the root; append is added to the kernel command
    line; drive is an image that stays unchanged; options are more QEMU words;
    log is where the console goes; allow is a pattern of console lines that are
    no failure here.  With icount the clock of the guest, which needs smp=1, counts
    instructions: one is a nanosecond.  code is how many MiB of translated code QEMU keeps.
    """

    # Learns of every guest of this process: booted(guest), said(guest, text), ends(guest).
    observer = None
    # Called at least every half a second while a command runs.
    waiting = None

    def __init__(self, qemu, kernel, initrd, *, append="", cpu="max", smp=2,
                 memory="1G", drive=None, options=(), log, allow=None, icount=False,
                 boot_timeout=120, code=None):
        self.tmp = tempfile.mkdtemp(prefix="page_hva.")
        self.log = log
        self.boot_timeout = boot_timeout * PATIENCE
        os.makedirs(os.path.dirname(os.path.abspath(log)), exist_ok=True)
        if os.path.exists(log):
            os.unlink(log)
        self.console = Console(log, allow)
        self.ctl_path = os.path.join(self.tmp, "ctl")
        self.qmp_path = os.path.join(self.tmp, "qmp")
        self.command_line = [
            qemu, "-nodefaults", "-display", "none", "-no-reboot",
            "-M", "s390-ccw-virtio", "-cpu", cpu,
            "-accel", f"tcg,thread={'single' if icount else 'multi'}" +
            (f",tb-size={code}" if code else ""),
            "-smp", str(smp), "-m", memory,
            "-kernel", kernel, *(["-initrd", initrd] if initrd else []),
            "-append", f"panic=-1 {append}".strip() + f" PATIENCE={PATIENCE}" * (PATIENCE > 1),
            "-chardev", f"file,id=con,path={log}",
            "-serial", "chardev:con",
            "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
            "-device", "virtio-serial-ccw",
            "-chardev", f"socket,id=ctl,path={self.ctl_path},server=on,wait=off",
            "-device", "virtserialport,chardev=ctl,name=hva.ctl",
        ]
        if drive:
            self.command_line += [
                "-drive", f"file={drive},if=none,id=disk,format=raw,snapshot=on",
                "-device", "virtio-blk-ccw,drive=disk"]
        if icount:
            self.command_line += ["-icount", "shift=0"]
        self.command_line += list(options)
        self.qmp = self.ctl = self.process = None
        self.buffer = b""

    def start(self):
        errors = open(self.log + ".qemu", "w", encoding="utf-8")
        self.process = subprocess.Popen(
            self.command_line, stdin=subprocess.DEVNULL, stdout=errors,
            stderr=errors, env=dict(os.environ, TMPDIR=self.tmp))
        errors.close()
        deadline = time.monotonic() + self.boot_timeout
        try:
            self.qmp = Qmp(self._wait_for(self.qmp_path, deadline), 60 * PATIENCE,
                           self.process)
        except (OSError, QmpError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            self._check_alive("start")
            raise
        self.ctl = connected(self._wait_for(self.ctl_path, deadline), deadline)
        self.wait_for_boot(deadline - time.monotonic())

    def wait_for_boot(self, timeout):
        """Wait for the guest to say that it is up, after a start or after kexec."""
        self._read_until(b"@@ready\n", time.monotonic() + timeout, "boot")
        if self.observer:
            self.observer.booted(self)

    def settle(self):
        """What was used turns volatile now, not when it was left alone for seconds."""
        self.run("echo 1 >/sys/kernel/debug/page_hva/settle")

    def hurry(self):
        """It is left alone for a moment only, from now on."""
        self.run("! cd /sys/kernel/debug/page_hva 2>/dev/null || "
                 f"echo {200 * PATIENCE} >late_ms")

    def stop(self):
        if self.process:
            if self.observer:
                self.observer.ends(self)
            self.process.kill()
            self.process.wait()
        for connection in (self.ctl, self.qmp):
            if connection:
                connection.close()
        shutil.rmtree(self.tmp, ignore_errors=True)

    def run(self, command, timeout=60, check=True, on_line=None):
        """Run a shell command line in the guest; return its output.

        With check a status other than 0 raises; without it the result is the
        pair of status and output.  on_line sees each line as it comes.
        """
        if "\n" in command:
            raise ValueError("one line is one command")
        self.ctl.sendall(command.encode() + b"\n")
        raw = self._read_until(b"\n@@done ", time.monotonic() + timeout * PATIENCE,
                               command, on_line)
        status = self._read_until(b"\n", time.monotonic() + 10 * PATIENCE, command)
        output = raw.decode("utf-8", "replace")
        if self.observer:
            self.observer.said(self, output)
        # A kernel that complains while a command runs has failed that command.
        self.check_console()
        if not check:
            return int(status), output
        if int(status):
            raise GuestError(f"'{command}' ended with status {int(status)}: "
                             f"{output.strip()[-2000:]}")
        return output

    def check_console(self):
        failure = self.console.poll()
        if failure:
            raise GuestError(f"console: {failure} (log: {self.log})")

    def resident_kib(self):
        """Resident memory of the QEMU process, in KiB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        raise GuestError("QEMU has no VmRSS")

    def _wait_for(self, path, deadline):
        while not os.path.exists(path):
            self._check_alive("start")
            if time.monotonic() > deadline:
                raise GuestError(f"QEMU did not create {path}")
            time.sleep(0.05)
        return path

    def _check_alive(self, doing):
        if self.process.poll() is None:
            return
        self.console.poll()
        with open(self.log + ".qemu", encoding="utf-8") as errors:
            words = errors.read().strip()
        raise GuestError(
            f"QEMU ended with status {self.process.returncode} during '{doing}'"
            f": {self.console.failure or words or 'no message'} (log: {self.log})")

    def _read_until(self, end, deadline, doing, on_line=None):
        shown = 0
        while end not in self.buffer:
            if select.select([self.ctl], [], [], 0.5)[0]:
                data = self.ctl.recv(65536)
                if not data:
                    self.process.wait(10)
                    self._check_alive(doing)
                    raise GuestError(f"control port closed during '{doing}'")
                self.buffer += data
            if on_line:
                # A whole line that cannot be the start of the end mark.
                while (cut := self.buffer.find(b"\n", shown)) >= 0:
                    if end.startswith(self.buffer[cut:cut + len(end)]):
                        break
                    on_line(self.buffer[shown:cut].decode("utf-8", "replace"))
                    shown = cut + 1
            if self.waiting:
                self.waiting()
            try:
                self.check_console()
            except GuestError as error:
                raise GuestError(f"during '{doing}': {error}") from None
            if time.monotonic() > deadline:
                self._check_alive(doing)
                raise GuestError(f"no answer in time to '{doing}' "
                                 f"(log: {self.log})")
        found, self.buffer = self.buffer.split(end, 1)
        if on_line and found[shown:]:
            for line in found[shown:].decode("utf-8", "replace").splitlines():
                on_line(line)
        return found
