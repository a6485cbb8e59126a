"""Debian's Chromium without a window, told by its own protocol what to do."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
import zlib

from .guest import Started

PROGRAM = "chromium"
FLAGS = ["--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
         "--disable-background-networking", "--force-color-profile=srgb",
         "--remote-debugging-pipe"]
SECONDS = 120       # for one answer on a busy machine


class Browser(Started):
    """A browser with one page; use it in a with statement."""

    def __init__(self, log, width=1100, height=1000):
        self.log, self.size = log, (width, height)
        self.tmp = tempfile.mkdtemp(prefix="page_hva.")
        self.process = self.session = None
        self.number, self.buffer, self.events = 0, b"", []

    def start(self):
        # The protocol is spoken on the descriptors 3 and 4; bash must not lose one to them.
        theirs, self.ours_out = os.pipe()
        self.ours_in, theirs_out = os.pipe()
        high = [fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in (theirs, theirs_out)]
        command = [PROGRAM, *FLAGS, f"--user-data-dir={self.tmp}"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", f'exec "$@" 3<&{high[0]} 4>&{high[1]}', "bash", *command],
                pass_fds=high, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for one in (theirs, theirs_out, *high):
            os.close(one)
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.command("Target.attachToTarget", targetId=target,
                                    flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")
        self.command("Emulation.setDeviceMetricsOverride", width=self.size[0],
                     height=self.size[1], deviceScaleFactor=1, mobile=False)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            os.close(self.ours_in)
            os.close(self.ours_out)
        shutil.rmtree(self.tmp, ignore_errors=True)

    def message(self, end):
        while b"\0" not in self.buffer:
            if not select.select([self.ours_in], [], [], max(0, end - time.monotonic()))[0]:
                raise OSError(f"{PROGRAM} does not answer (log: {self.log})")
            data = os.read(self.ours_in, 1 << 20)
            if not data:
                raise OSError(f"{PROGRAM} has ended (log: {self.log})")
            self.buffer += data
        one, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(one)

    def until(self, wanted):
        """The first message that is wanted; events before it are kept."""
        end = time.monotonic() + SECONDS
        while True:
            message = self.message(end)
            if "method" in message:
                self.events.append(message)
            if wanted(message):
                return message

    def command(self, method, **parameters):
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.ours_out, json.dumps(request).encode() + b"\0")
        answer = self.until(lambda message: message.get("id") == self.number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def open(self, url):
        self.events = []
        self.command("Page.navigate", url=url)
        if not self.happened("Page.loadEventFired"):
            self.until(lambda message: message.get("method") == "Page.loadEventFired")

    def happened(self, *methods):
        """The events of these kinds since the page was opened."""
        return [event for event in self.events if event["method"] in methods]

    def evaluate(self, expression):
        answer = self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer}"
        return answer["result"].get("value")

    def text(self, selector):
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def box(self, selector):
        """Where the content of an element is: left, top, width, height."""
        return self.evaluate(
            f"(e => {{ e.scrollIntoView({{ block: 'nearest' }});"
            "const r = e.getBoundingClientRect(); return [r.left + e.clientLeft,"
            "r.top + e.clientTop, e.clientWidth, e.clientHeight] })"
            f"(document.querySelector({json.dumps(selector)}))")

    def mouse(self, x, y, *kinds):
        for kind in kinds or ["mouseMoved"]:
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                         clickCount=1)

    def click(self, selector):
        left, top, width, height = self.box(selector)
        self.mouse(left + width / 2, top + height / 2, "mousePressed", "mouseReleased")

    def key(self, name):
        for kind in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, key=name)

    def pixels(self, left, top, width, height):
        """Rows of what is seen: three bytes for each dot, red, green, blue."""
        answer = self.command("Page.captureScreenshot", clip={
            "x": left, "y": top, "width": width, "height": height, "scale": 1},
            optimizeForSpeed=True)
        return decode(base64.b64decode(answer["data"]))


def decode(png):
    """The rows of a PNG with 8 bits for each of three colours, or four with the opacity."""
    chunks, at = {}, 8
    while at < len(png):
        length, kind = int.from_bytes(png[at:at + 4], "big"), png[at + 4:at + 8]
        chunks[kind] = chunks.get(kind, b"") + png[at + 8:at + 8 + length]
        at += length + 12
    head, raw = chunks[b"IHDR"], zlib.decompress(chunks[b"IDAT"])
    width, size = int.from_bytes(head[:4], "big"), {2: 3, 6: 4}[head[9]]
    assert head[8] == 8 and not head[12], "another kind of PNG"
    rows, last = [], bytearray(width * size)
    for start in range(0, len(raw), width * size + 1):
        row = bytearray(raw[start + 1:start + 1 + width * size])
        unfilter(raw[start], row, last, size)
        last = row
        if size == 4:
            row = row[:]
            del row[3::4]
        rows.append(row)
    return rows


def unfilter(kind, row, last, size):
    """Turn differences into bytes, as the PNG specification has it."""
    if kind == 2:                       # the one that is used for speed
        row[:] = bytes((value + up) & 255 for value, up in zip(row, last))
        return
    for i, value in enumerate(row):
        left, up, corner = (row[i - size], last[i], last[i - size]) if i >= size else (
            0, last[i], 0)
        if kind == 4:
            near = left + up - corner
            guess = min((left, up, corner), key=lambda one: abs(near - one))
        else:
            guess = (0, left, up, (left + up) // 2)[kind]
        row[i] = (value + guess) & 255
