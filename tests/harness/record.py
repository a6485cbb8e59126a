"""What the memory of a guest looked like, moment by moment: pictures are drawn of it."""

import re
import time

from .states import runs

EVERY = 1.0         # seconds between two counts of the states
EVERY_MAP = 2.0     # and between two maps, if somebody looks at them
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
# A letter for each state that there is without policy "kvm", in the order of pictures.
LETTERS = dict(zip(("sr", "sp", "sz", "pr", "vr", "vz", "ur", "uz"), "ABCDEFGH"))
STATES = {letter: state for state, letter in LETTERS.items()}


def base36(number):
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
    return text


def pack(pairs):
    """[("sr", 1), ("vr", 40)] as "AE14": a letter, and how often if it is not once."""
    return "".join(LETTERS[state] + base36(count) * (count > 1) for state, count in pairs)


def unpack(text):
    return [(STATES[letter], int(count or "1", 36))
            for letter, count in re.findall("([A-H])([0-9a-z]*)", text)]


class Recorder:
    """Counts states while the guest works, and keeps the map of the moments named."""

    def __init__(self, guest, title, screen):
        self.guest, self.screen = guest, screen
        self.began = time.monotonic()
        self.last = self.last_map = 0
        self.record = {"title": title, "parts": [], "samples": [], "moments": []}

    def seconds(self):
        return round(time.monotonic() - self.began, 2)

    def look(self, with_map):
        """An answer of the host, which is a sample as well."""
        now = time.monotonic()
        answer = self.guest.qmp.command("x-query-s390-cmma", map=with_map)
        self.last = now
        self.record["samples"].append([self.seconds(), answer["pages"]])
        if with_map:
            self.last_map = now
            self.screen.show(runs(answer), answer["pages"])
        return answer

    def tick(self):
        """Called again and again while the guest works."""
        now = time.monotonic()
        if now - self.last >= EVERY:
            self.look(self.screen.live and now - self.last_map >= EVERY_MAP)

    def part(self, title):
        self.record["parts"].append([self.seconds(), title])

    def moment(self, name, panel=None):
        """Keep the map; with panel it is one of those in the picture, by that name."""
        answer = self.look(True)
        self.record["moments"].append({
            "name": name, "panel": panel, "seconds": self.record["samples"][-1][0],
            "pages": answer["pages"], "runs": pack(runs(answer))})
