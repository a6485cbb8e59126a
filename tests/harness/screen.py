"""A small live map of the guest's memory below the text, if there is a terminal."""

import os

from .pictures import LOOK, cells, size, there_are

ACROSS, DOWN = 64, 16           # cells; a character shows two, one above the other
NAMES = {"sr": "stable", "sp": "preserved", "sz": "zero", "pr": "potentially", "vr": "volatile",
         "vz": "discarded", "ur": "unused", "uz": "unused, taken"}


def nearest(state):
    """The colour of a state among the 216 of the cube that all terminals have."""
    colour = LOOK[state][1]
    levels = [min(range(6), key=lambda level: abs((level and 55 + 40 * level) - value))
              for value in (int(colour[i:i + 2], 16) for i in (1, 3, 5))]
    return 16 + 36 * levels[0] + 6 * levels[1] + levels[2]


class Screen:
    """Prints text; below it, the map is drawn again and again."""

    def __init__(self, out, size_of=None):
        self.out = out
        self.live = out.isatty() and os.environ.get("TERM") != "dumb"
        if self.live:
            width, height = size_of or os.get_terminal_size(out.fileno())
            self.live = width > ACROSS and height > DOWN // 2 + 6
        self.area = []          # lines that are below the text now
        self.line = ""          # of the text, the last line if it is not at its end

    def say(self, text="", end="\n"):
        self.clear()
        self.line = (self.line + text + end).rpartition("\n")[2]
        self.out.write(text + end)
        self.paint()

    def show(self, pairs, pages):
        """A new map and counts."""
        if not self.live:
            return
        self.clear()
        found = cells(pairs, ACROSS * DOWN)
        self.area = []
        for row in range(0, DOWN, 2):
            upper, lower = (found[(row + i) * ACROSS:][:ACROSS] for i in (0, 1))
            self.area.append("".join(f"\033[38;5;{nearest(a)};48;5;{nearest(b)}m\u2580"
                                     for a, b in zip(upper, lower)) + "\033[0m")
        room = 0
        for state in there_are([pages]):
            words = f" {NAMES[state]} {size(pages[state])}  "
            room -= len(words) + 1
            if room < 0:
                room = ACROSS - len(words) - 1
                self.area.append("")
            self.area[-1] += f"\033[38;5;{nearest(state)}m\u2588\033[0m{words}"
        self.paint()

    def close(self):
        self.clear()
        self.area = []
        self.out.flush()

    def clear(self):
        """Take the map away; the cursor is where the text ends."""
        if self.area:
            up = len(self.area) + bool(self.line)
            self.out.write(f"\r\033[{up}A" + f"\033[{len(self.line)}C" * bool(self.line)
                           + "\033[J")

    def paint(self):
        if self.area:
            self.out.write("\n" * bool(self.line) + "".join(f"{line}\n" for line in self.area))
        self.out.flush()
