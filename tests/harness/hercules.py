"""Linux in the emulator Hercules: the machine on which KVM runs.

Hercules has its own console, which is a terminal to telnet to.  There tests/kvm/init
takes command lines, one after the other.
"""

import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time

from .console import Console
from .guest import GuestError, Started

CONSOLE = "0009"
LINE = 200              # what a line of the console may have; the driver has 256 bytes
INITRD = 0x2000000      # where the file system is loaded, and where the kernel is told so
PARAMETERS = 0x10408, 0x10480

CONFIGURATION = """CPUMODEL 2097
CPUSERIAL 000611
MAINSIZE {memory}
NUMCPU {cpus}
ARCHMODE z/Arch
OSTAILOR QUIET
CODEPAGE 437/037
CNSLPORT {port}
{console} 3215 noprompt
"""
# Loading starts when we are connected to the console: without one there is none.
COMMANDS = f"""hao tgt HHCTE009I.*0:{CONSOLE}
hao cmd ipl linux.ins
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def bare(program, image, log, seconds=60):
    """What tests/bare/sie.c says in the log of Hercules; it has no operating system."""
    with tempfile.TemporaryDirectory(prefix="page_hva.") as tmp:
        shutil.copy(image, os.path.join(tmp, "image"))
        for name, text in {
                "psw": struct.pack(">II", 0x00080000, 0x80010100),  # 31 bits, to 0x10100
                "bare.ins": b"* tests\nimage 0x10000\npsw 0x0\n",
                "commands": b"ipl bare.ins\n",
                "configuration": (CONFIGURATION.format(
                    memory=64, cpus=1, port=free_port(), console=CONSOLE)
                    + "DIAG8CMD ENABLE ECHO\n").encode()}.items():
            with open(os.path.join(tmp, name), "wb") as file:
                file.write(text)
        os.makedirs(os.path.dirname(log), exist_ok=True)
        with open(log, "wb") as said, subprocess.Popen(
                [program, "-d", "-f", "configuration"], cwd=tmp, stdin=subprocess.DEVNULL,
                stdout=said, stderr=said, env=dict(os.environ, HERCULES_RC="commands")
        ) as process:
            end = time.monotonic() + seconds
            while time.monotonic() < end and process.poll() is None:
                with open(log, encoding="ascii", errors="replace") as file:
                    if "Disabled wait state" in file.read():
                        break
                time.sleep(0.2)
            process.kill()
    with open(log, encoding="ascii", errors="replace") as file:
        return [line[2:].rstrip() for line in file if line.startswith("* ")]


class Machine(Started):
    """A started machine; use it in a with statement.

    program, kernel and initrd are paths; append is added to the kernel command line;
    log is where the console goes; ready is what the console says when all is there.  A
    kernel without a driver for that console has the one of SCLP, which is in the log of
    Hercules, log + ".hercules"; then ready is None, and no commands are taken.
    """

    def __init__(self, program, kernel, initrd, *, append="", cpus=1, memory=1536, log,
                 ready="@@ready"):
        self.words = (program, kernel, initrd)
        self.append, self.cpus, self.memory = append, cpus, memory
        self.log, self.ready = log, ready
        self.tmp = self.process = self.socket = None
        self.buffer = b""

    def write(self, name, text):
        with open(os.path.join(self.tmp, name), "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode("ascii"))

    def start(self):
        program, kernel, initrd = self.words
        self.tmp = tempfile.mkdtemp(prefix="page_hva.")
        for path in (program, kernel, initrd):
            if not os.path.exists(path):
                raise GuestError(f"{path} is missing: run 'make kvm'")
        # Hercules gives up what root may do, so these have to be where it may read them.
        shutil.copyfile(kernel, os.path.join(self.tmp, "kernel"))
        shutil.copyfile(initrd, os.path.join(self.tmp, "initrd"))
        append = f"console=ttyS0 conmode=3215 condev=0x{CONSOLE} loglevel=5 {self.append}"
        self.write("place", struct.pack(">QQ", INITRD, os.path.getsize(initrd)))
        self.write("append", append.strip() + "\0")
        self.write("linux.ins", "* Linux\nkernel 0x0\n" + "".join(
            f"{name} 0x{address:08x}\n" for name, address in
            [("initrd", INITRD), *zip(("place", "append"), PARAMETERS)]))
        self.write("commands", COMMANDS)
        port = free_port()
        self.write("configuration", CONFIGURATION.format(
            memory=self.memory, cpus=self.cpus, port=port, console=CONSOLE))
        os.makedirs(os.path.dirname(os.path.abspath(self.log)), exist_ok=True)
        self.console_log = open(self.log, "wb", buffering=0)
        with open(self.log + ".hercules", "wb") as said:
            self.process = subprocess.Popen(
                [program, "-d", "-f", "configuration"], cwd=self.tmp,
                stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                env=dict(os.environ, HERCULES_RC="commands"))
        self.connect(port, time.monotonic() + 60)
        if self.ready:
            self.until(self.ready, 600)

    def connect(self, port, end):
        """Connect to the console: it asks for the type of the terminal, and no more."""
        while self.socket is None:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise GuestError(f"Hercules has no console; see {self.log}.hercules"
                                     ) from None
                time.sleep(0.1)
        iac, will, do, sb, se, kind = 255, 251, 253, 250, 240, 24
        for asked, answer in ((bytes([iac, do, kind]), bytes([iac, will, kind])),
                              (bytes([iac, sb, kind, 1, iac, se]),
                               bytes([iac, sb, kind, 0]) + b"TTY" + bytes([iac, se]))):
            got = b""
            while len(got) < len(asked):
                more = self.socket.recv(len(asked) - len(got))
                if not more:
                    raise GuestError("the console hangs up")
                got += more
            if got != asked:
                raise GuestError(f"the console asks {got!r}")
            self.socket.sendall(answer)

    def line(self, end):
        """The next line that the console says, until a point in time."""
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0:
                raise GuestError(f"no answer in time; see {self.log}")
            self.socket.settimeout(min(left, 5))
            try:
                more = self.socket.recv(65536)
            except socket.timeout:
                with open(self.log + ".hercules", encoding="ascii", errors="replace") as said:
                    bad = re.search("HHC.* failed.*|.*Disabled wait state", said.read())
                if bad:
                    raise GuestError(f"Hercules says: {bad[0]}") from None
                continue
            if not more:
                raise GuestError(f"Hercules has ended; see {self.log}.hercules")
            self.console_log.write(more.replace(b"\r", b""))
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode("ascii", "replace").rstrip("\r")

    def until(self, word, timeout):
        """The lines before one that has a word, and that one."""
        end = time.monotonic() + timeout
        before = []
        while word not in (line := self.line(end)):
            before.append(line)
        return before, line

    def logged(self, word, timeout):
        """The log of Hercules when it has a word."""
        end = time.monotonic() + timeout
        while True:
            with open(self.log + ".hercules", encoding="ascii", errors="replace") as said:
                text = said.read()
            if word in text:
                return text
            if time.monotonic() > end or self.process.poll() is not None:
                raise GuestError(f"'{word}' does not come; see {self.log}.hercules")
            time.sleep(0.5)

    def run(self, command, timeout=300, check=True):
        """Run a command line on the host, which gives its output, or status and output."""
        if len(command) > LINE:
            raise GuestError(f"the command has more than {LINE} characters: {command}")
        self.socket.sendall(command.encode("ascii") + b"\r\n")
        output, done = self.until("@@done ", timeout)
        status, output = int(done.split()[1]), "\n".join(output)
        if check and status:
            raise GuestError(f"'{command}' ended with {status}:\n{output}")
        return output if check else (status, output)

    def guest(self, command, timeout=300, check=True):
        """Run a command line in the guest."""
        return self.run(f"guest '{command}'", timeout, check)

    def guest_states(self, **more):
        """The states of the guest's memory: {usage: (resident, preserved, zero)}."""
        text = self.guest("cat /sys/kernel/debug/page_hva/state", **more)
        states = {row[0]: tuple(map(int, row[1:])) for row in
                  re.findall(r"^([\w-]+) +(\d+) +(\d+) +(\d+)\s*$", text, re.MULTILINE)}
        if len(states) != 4:
            raise GuestError(f"the guest does not give its states:\n{text}")
        return states

    def wrong_sums(self):
        """How many files of the guest's disk are not what they were when it was made."""
        return int(self.guest("cd /mnt; sha512sum -c sums | grep -vc OK", timeout=240,
                              check=False)[1].split()[-1])

    def discarded(self):
        return int(self.run("cat /sys/kernel/debug/kvm/*-*/cmma_discard"))

    def discard_faults(self):
        """As KVM counts them, and as the guest does."""
        return (int(self.run("cat /sys/kernel/debug/kvm/discard_fault")),
                sum(map(int, re.findall(r"faults_\w+ (\d+)", self.guest(
                    "grep page_hva_faults /proc/vmstat")))))

    def check_console(self):
        """Fail if the console of the host, or that of its guest, has a line of a failure."""
        failure = Console(self.log).poll()
        if failure:
            raise GuestError(f"the host's console says: {failure}")
        path = self.log + ".guest"
        said = self.run("cat /tmp/*.log", check=False)[1]
        with open(path, "w", encoding="utf-8") as file:
            file.write(said + "\n")
        failure = Console(path).poll()
        if failure:
            raise GuestError(f"the guest's console says: {failure}")

    def stop(self):
        # First, since we may be told to end meanwhile, and it would go on.
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.console_log.close()
        if self.socket is not None:
            self.socket.close()
        if self.tmp is not None:
            shutil.rmtree(self.tmp, ignore_errors=True)
