"""The pictures that make run leaves: what is seen is what was recorded."""

import io
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import tempfile

from harness import browser, pictures, place
from harness.record import pack, unpack
from harness.report import Broken
from harness.screen import ACROSS, DOWN, Screen, nearest
from harness.states import PAGE

STORY = os.path.join(place.BUILD, "results/story")
# Colours are told apart if they are so far from each other, in CIELAB.
APART = 15


def rgb(state):
    colour = pictures.LOOK[state][1]
    return bytes.fromhex(colour[1:])


def unlike(rows, states, width, dots=1):
    """Where rows of a map do not have the colours of its states, dots to a state."""
    wrong = []
    for y, row in enumerate(rows):
        part = states[y // dots * width:][:width]
        if row != b"".join(rgb(state) * dots for state in part):
            wrong += [(y // dots) * width + x for x, state in enumerate(part)
                      if row[3 * dots * x:][:3 * dots] != rgb(state) * dots]
    assert len(rows) * width == len(states) * dots, f"{len(rows)} rows for {len(states)} states"
    return wrong


def spread(moment):
    """The state of each page."""
    return [state for state, count in unpack(moment["runs"]) for _ in range(count)]


def recorded():
    try:
        with open(os.path.join(STORY, "record.json"), encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise Broken(f"{error}: run tests/story before") from None


def counted(record):
    """The maps have what the host counted."""
    total = sum(record["moments"][0]["pages"].values())
    for moment in record["moments"]:
        found = {}
        for state, count in unpack(moment["runs"]):
            found[state] = found.get(state, 0) + count
        said = {state: count for state, count in moment["pages"].items() if count}
        assert found == said, f"{moment['name']}: {found}, {said}"
        assert sum(found.values()) == total, f"{moment['name']}: {found} are not {total}"
        assert pack(unpack(moment["runs"])) == moment["runs"], moment["name"]


def documented():
    """docs/story.md, docs/memory.svg and the README are of the same run."""
    texts = []
    for name in ("docs/story.md", "docs/memory.svg", "README.md"):
        with open(os.path.join(place.ROOT, name), encoding="utf-8") as file:
            texts.append(file.read())
    story, drawn, readme = texts
    table = story[story.index("\n2. "):]
    for usage in ("stable", "unused", "volatile"):
        pages = int(re.search(rf"^{usage} +(\d+)", table, re.MULTILINE)[1])
        first = re.search(rf">{usage}: (\d+) MiB<", drawn)
        # The picture was recorded a moment after the table.
        assert first and abs(int(first[1]) - pages * PAGE / (1 << 20)) <= 1, (
            f"{usage}: {pages} pages in docs/story.md, in docs/memory.svg {first}")
    took = [pictures.size(int(pages)) for pages in re.findall(r"the host took (\d+)", story)[:2]]
    right = re.search(r"all (\d+) MiB that were compared", story)[1]
    for said in (f"{took[0]} of page cache and {took[1]} of free pages",
                 f"All {right} MiB that were read"):
        assert said in readme, f"the README does not say: {said}"


class Terminal(io.StringIO):
    """Understands what a Screen writes, and nothing else."""

    def isatty(self):
        return True

    def seen(self):
        """Lines of (character, colour, colour behind it)."""
        lines, y, x, colours = [[]], 0, 0, (None, None)
        for word in re.findall(r"\033\[[\d;]*[A-Za-z]|.", self.getvalue(), re.DOTALL):
            if word == "\n":
                y, x = y + 1, 0
                if y == len(lines):
                    lines.append([])
            elif word == "\r":
                x = 0
            elif len(word) == 1:
                lines[y][x:x + 1] = [(word, *colours)]
                x += 1
            elif word.endswith("A"):
                y -= int(word[2:-1])
            elif word.endswith("C"):
                x += int(word[2:-1])
            elif word.endswith("J"):
                lines[y:] = [lines[y][:x]]
            else:
                codes = [int(code) for code in word[2:-1].split(";")]
                assert word[-1] == "m" and (codes == [0] or codes[:2] == [38, 5]), word
                colours = (codes[2:3] + [None])[0], (codes[5:6] + [None])[0]
        return lines

    def text(self):
        return "\n".join("".join(one[0] for one in line) for line in self.seen())


def live(record):
    """The map on a terminal is below the text, shows the cells, and leaves nothing."""
    terminal, plain = Terminal(), io.StringIO()
    screen, dull = Screen(terminal, (80, 24)), Screen(plain)
    for one in screen, dull:
        one.say("first")
        one.say("  second ...", end="")
        for moment in record["moments"]:
            one.show(unpack(moment["runs"]), moment["pages"])
    expected = pictures.cells(unpack(moment["runs"]), ACROSS * DOWN)
    shown = [one[colour] for line in terminal.seen()[2:2 + DOWN // 2] for colour in (1, 2)
             for one in line]
    assert shown == [nearest(state) for state in expected], f"{shown}"
    assert all(len(line) <= ACROSS for line in terminal.text().splitlines()), terminal.text()
    assert f"volatile {pictures.size(moment['pages']['vr'])}" in terminal.text()
    for one in screen, dull:
        one.say(" third")
        one.close()
    assert terminal.text() == plain.getvalue() == "first\n  second ... third\n", terminal.text()


def alone(page):
    """It asked for nothing but itself, and nothing went wrong in it."""
    asked = [event["params"]["request"]["url"] for event in
             page.happened("Network.requestWillBeSent")]
    assert len(asked) == 1, f"the page loads {asked[1:]}"
    wrong = page.happened("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    assert not wrong, f"the browser complains: {wrong}"


def differences(page, moment):
    """Numbers of the pages that are not drawn in the colour of their state."""
    box = page.box("#map")
    return unlike(page.pixels(*box), spread(moment), box[2])


# All that the page says, in one answer.
SAID = """(text => ({ moment: text("#moment"), address: text("#address"), state: text("#state"),
counts: text("#counts"), history: text("#history"),
lines: [...document.querySelectorAll(".moment")].map(e => e.getAttribute("visibility")) }))
(selector => document.querySelector(selector).innerText)"""


def named(text):
    """What stands in front of each line of a table."""
    return [line.split("\t")[0].strip() for line in text.splitlines()]


def says(page, number, moments, at):
    """What is said about the page that is pointed at."""
    said = page.evaluate(SAID)
    name, _, meaning = pictures.LOOK[moments[at][number]]
    assert said["address"] == f"page {number}, address 0x{number * PAGE:x}", said
    assert said["state"].strip() == f"{name}: {meaning}", f"{said}, not {name}"
    assert named(said["history"]) == [pictures.LOOK[states[number]][0] for states in moments], said


def walk(page, record):
    """Step through all moments: what is said of them; maps and pages of some."""
    kept = record["moments"]
    moments = [spread(moment) for moment in kept]
    there = pictures.there_are([moment["pages"] for moment in kept])
    for at, moment in enumerate(kept):
        if at:
            page.click("#next")
        said = page.evaluate(SAID)
        assert said["moment"] == f"{at + 1} of {len(kept)}: {moment['name']}", said
        assert [line.split("\t")[:2] for line in said["counts"].splitlines()] == [
            [f" {pictures.LOOK[state][0]}", f"{moment['pages'][state]}"] for state in there], said
        assert [i for i, line in enumerate(said["lines"]) if line == "visible"] == [at], said
        if not moment["panel"]:
            continue
        wrong = differences(page, moment)
        assert not wrong, f"{moment['name']}: {len(wrong)} pages have wrong colours, {wrong[:9]}"
        left, top, width, _ = page.box("#map")
        # One page of each state, the last, and another one.
        for number in [*map(moments[at].index, set(moments[at])), len(moments[at]) - 1,
                       random.Random(at).randrange(width, len(moments[at]))]:
            page.mouse(left + number % width + .5, top + number // width + .5)
            says(page, number, moments, at)
    page.evaluate("document.querySelector('#map').focus()")
    page.key("ArrowUp")
    page.key("ArrowLeft")
    says(page, number - width - 1, moments, at)
    page.click("#back")
    says(page, number - width - 1, moments, at - 1)


def drawn(page, record):
    """Each cell of the maps in the SVG."""
    for place_of, moment in enumerate(one for one in record["moments"] if one["panel"]):
        across, down = pictures.COLUMNS * pictures.CELL, pictures.ROWS * pictures.CELL
        rows = page.pixels(pictures.LEFT + place_of * (across + pictures.GAP), pictures.TOP,
                           across, down)
        cells = pictures.cells(unpack(moment["runs"]), pictures.COLUMNS * pictures.ROWS)
        wrong = unlike(rows, cells, pictures.COLUMNS, pictures.CELL)
        assert not wrong, f"{moment['panel']}: {len(wrong)} dots, {wrong[:9]}"


def stacked(page, record):
    """In the timeline, the middle of each band has the colour of its state."""
    samples, across = record["samples"], pictures.WIDTH - pictures.LEFT - pictures.GAP
    rows = page.pixels(pictures.LEFT, pictures.CHART_TOP, across, pictures.CHART)
    first, total = samples[0][0], sum(samples[0][1].values())
    dots = across / (samples[-1][0] - first)
    # What begins before the first sample is drawn at the left edge.
    lines = [max(dots * (seconds - first), 0) for seconds, _ in record["parts"]]
    looked = 0
    for x in range(across):
        if any(abs(line - x) < 3 for line in lines):
            continue            # the beginning of a part is drawn over it
        near = [pages for before, (seconds, pages), after in
                zip([samples[0], *samples], samples, [*samples[1:], samples[-1]])
                if dots * (before[0] - first) < x + 2 and dots * (after[0] - first) > x - 1]
        sums = [dict(zip(pictures.LOOK, itertools.accumulate(pages[state] for state in
                                                             pictures.LOOK))) for pages in near]
        for state in pictures.LOOK:
            low = max(one[state] - pages[state] for one, pages in zip(sums, near))
            high = min(one[state] for one in sums)
            if (high - low) * pictures.CHART > 4 * total:
                y = int(pictures.CHART * (1 - (low + high) / 2 / total))
                found = rows[y][3 * x:][:3]
                assert found == rgb(state), f"dot {x}, {y}: {found.hex()} instead of {state}"
                looked += 1
    assert looked > across, f"only {looked} bands could be looked at"


def lab(colour):
    """CIELAB of what is seen as that colour."""
    linear = [one / 12.92 if one <= .04045 else ((one + .055) / 1.055) ** 2.4
              for one in (value / 255 for value in colour)]
    x, y, z = (sum(part * value for part, value in zip(row, linear)) for row in (
        (.4339, .3762, .1899), (.2126, .7152, .0722), (.0178, .1095, .8729)))
    x, y, z = (one ** (1 / 3) if one > .008856 else 7.787 * one + 16 / 116 for one in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def told_apart(page, path):
    """No two colours look the same to anybody who sees colours."""
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f'<div style="position: fixed; left: {i * 10}px; top: 0; width: 10px; '
                           f'height: 10px; background: {look[1]}"></div>'
                           for i, look in enumerate(pictures.LOOK.values())))
    page.open(f"file://{path}")
    closest = []
    for kind in ("none", "protanopia", "deuteranopia", "tritanopia"):
        page.command("Emulation.setEmulatedVisionDeficiency", type=kind)
        row = page.pixels(0, 5, 10 * len(pictures.LOOK), 1)[0]
        seen = {state: row[30 * i + 15:][:3] for i, state in enumerate(pictures.LOOK)}
        assert (seen["sr"] == rgb("sr")) == (kind == "none"), f"{kind} is not emulated"
        seen = {state: lab(colour) for state, colour in seen.items()}
        closest += [(sum((a - b) ** 2 for a, b in zip(seen[one], seen[other])) ** .5,
                     kind, one, other) for one, other in itertools.combinations(seen, 2)]
    page.command("Emulation.setEmulatedVisionDeficiency", type="none")
    assert min(closest)[0] >= APART, f"{sorted(closest)[:3]}"
    print(f"#   closest: {min(closest)}")


def readable(page, path):
    """Text and background are far from each other, by day and by night."""
    for scheme, dark in (("light", False), ("dark", True)):
        page.command("Emulation.setEmulatedMedia",
                     features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.open(f"file://{path}")
        shades = [green for row in page.pixels(0, 0, 600, 45) for green in row[1::3]]
        back = max(set(shades), key=shades.count)
        assert (back < 64) == dark, f"{scheme}: the background is {back}"
        text = max(shades) if dark else min(shades)
        assert abs(text - back) > 128, f"{scheme}: text {text} on {back}"


def spoiled(record):
    """The same with one page of another state in the second moment."""
    copy = json.loads(json.dumps(record))
    states = spread(copy["moments"][1])
    number = len(states) // 3
    states[number] = "sz" if states[number] != "sz" else "sr"
    copy["moments"][1]["runs"] = pack((state, 1) for state in states)
    return copy, number


def everything(report):
    record = recorded()
    with report.test("pictures: the maps have what the host counted"):
        counted(record)
    with report.test("pictures: docs/memory.svg is of the run in docs/story.md"):
        documented()
    with report.test("pictures: the map on a terminal; no terminal, no map"):
        live(record)
    if not shutil.which(browser.PROGRAM):
        install = subprocess.run([os.path.join(place.ROOT, "scripts/install"), "browser"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                 check=False)
        if install.returncode:
            report.skipped("pictures: in a browser", "no chromium: " + " ".join(
                install.stderr.strip().splitlines()[-1:]))
            return
    with tempfile.TemporaryDirectory(prefix="page_hva.") as tmp:
        pictures.draw(record, tmp)      # by the code as it is now
        try:
            seen(report, record, tmp)
        except OSError as error:        # what is in no test: the browser does not start
            raise Broken(str(error)) from None


def seen(report, record, tmp):
    with browser.Browser(os.path.join(place.LOGS, "browser.log")) as page:
        def at(name):
            page.open(f"file://{tmp}/{name}")

        with report.test("pictures: the page stands alone, and says and shows what was recorded"):
            at("page.html")
            walk(page, record)
            alone(page)
        with report.test("pictures: the page with one page of another state is noticed"):
            copy, number = spoiled(record)
            pictures.draw(copy, os.path.join(tmp, "spoiled"))
            at("spoiled/page.html")
            page.click("#next")
            wrong = differences(page, record["moments"][1])
            assert wrong == [number], f"{wrong[:9]} instead of {number}"
        with report.test("pictures: memory.svg has each cell in its colour"):
            at("memory.svg")
            drawn(page, record)
        with report.test("pictures: timeline.svg has each band where it belongs"):
            at("timeline.svg")
            stacked(page, record)
        with report.test("pictures: colour-blind people can tell the colours apart"):
            told_apart(page, os.path.join(tmp, "colours.html"))
        for name in ("page.html", "memory.svg", "timeline.svg"):
            with report.test(f"pictures: {name} can be read in light and dark"):
                readable(page, os.path.join(tmp, name))
