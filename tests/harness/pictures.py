"""Pictures of what tests/harness/record.py recorded: maps, a timeline, a page to look around in.

The colours are those that Okabe and Ito chose for all kinds of colour vision, and a grey.
"""

import json
import os
from collections import Counter
from html import escape

from .record import LETTERS, unpack
from .states import PAGE

# In the order in which they are stacked and listed: name, colour, what it means.
LOOK = {
    "sr": ("stable", "#d55e00", "the host has to keep it"),
    "sp": ("stable, preserved", "#009e73", "the host has paged it out"),
    "sz": ("stable, zero", "#e69f00", "nothing has been stored to it yet"),
    "pr": ("potentially volatile", "#cc79a7", "the host may take it until it is stored to"),
    "vr": ("volatile", "#0072b2", "the host may take it, as the guest can read it again"),
    "vz": ("discarded", "#f0e442",
           "it was volatile, and the host took it; who touches it gets a discard fault"),
    "ur": ("unused", "#56b4e9", "nobody needs the content, so the host may take it"),
    "uz": ("unused, taken", "#e4e4e4", "the host took it, and nobody misses it"),
}
assert list(LOOK) == list(LETTERS)

COLUMNS, ROWS = 128, 128            # of a map in the SVG
CELL, GAP, LEFT, TOP = 2, 16, 72, 52
WIDTH = LEFT + 3 * (COLUMNS * CELL + GAP)
CHART, CHART_TOP = 220, 64          # height and place of the timeline
STYLE = """svg { font-family: sans-serif; font-size: 13px; background: #ffffff }
svg text { fill: #222222 } svg .more { fill: #555555 } svg .frame { stroke: #777777; fill: none }
@media (prefers-color-scheme: dark) { svg { background: #16191d }
svg text { fill: #e8e8e8 } svg .more { fill: #b0b0b0 } svg .frame { stroke: #999999 } }"""


def cells(pairs, count):
    """Memory in count pieces: of each, the state that most of its pages have."""
    per = sum(number for _, number in pairs) // count
    found, piece, room = [], Counter(), per
    for state, number in pairs:
        while number and len(found) < count:
            part = min(number, room)
            piece[state] += part
            number, room = number - part, room - part
            if not room:
                found.append(max(piece, key=piece.get))
                piece, room = Counter(), per
    return found


def size(pages):
    return f"{pages * PAGE / (1 << 20):.0f} MiB"


def svg(width, height, title, parts):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">', f"<title>{title}</title>",
        f"<style>{STYLE}</style>", *parts, "</svg>\n"])


def swatch(x, y, state, label=None):
    name, colour, _ = LOOK[state]
    return (f'<rect x="{x}" y="{y}" width="13" height="13" fill="{colour}" stroke="#777777"/>'
            f'<text x="{x + 19}" y="{y + 11}">{label or name}</text>')


def there_are(all_pages, least=1):
    """The states that so many pages have somewhere, in order."""
    return [state for state in LOOK if any(pages[state] >= least for pages in all_pages)]


def one_map(x, moment, found, states):
    """A map with its title above and what is in it below."""
    across, down = COLUMNS * CELL, ROWS * CELL
    lines = {state: [] for state in LOOK}
    for row in range(ROWS):
        column = 0
        while column < COLUMNS:
            first, state = column, found[row * COLUMNS + column]
            while column < COLUMNS and found[row * COLUMNS + column] == state:
                column += 1
            lines[state].append(f"M{first} {row}h{column - first}")
    yield f'<text x="{x}" y="42" font-weight="bold">{escape(moment["panel"])}</text>'
    # A line of 1 has its middle at a half.
    yield (f'<g transform="translate({x} {TOP + CELL / 2:g}) scale({CELL})" '
           'shape-rendering="crispEdges">')
    for state, line in lines.items():
        if line:
            yield f'<path stroke="{LOOK[state][1]}" d="{"".join(line)}"/>'
    yield "</g>"
    yield (f'<rect class="frame" x="{x - .5}" y="{TOP - .5}" width="{across + 1}" '
           f'height="{down + 1}"/>')
    for number, state in enumerate(states):
        yield swatch(x, TOP + down + 12 + 20 * number, state,
                     f"{LOOK[state][0]}: {size(moment['pages'][state])}")


def map_svg(record):
    """The moments that have a panel, side by side."""
    moments = [moment for moment in record["moments"] if moment["panel"]]
    found = [cells(unpack(moment["runs"]), COLUMNS * ROWS) for moment in moments]
    states = [state for state in LOOK if any(state in one for one in found)]
    total = sum(moments[0]["pages"].values())
    parts = [f'<text x="{LEFT}" y="18">{escape(record["title"])}</text>']
    for quarter in range(4):
        parts.append(f'<text class="more" text-anchor="end" x="{LEFT - 8}" '
                     f'y="{TOP + ROWS * CELL * quarter // 4 + 10}">'
                     f'{total * PAGE * quarter // 4 >> 20} MiB</text>')
    for number, moment in enumerate(moments):
        parts += one_map(LEFT + number * (COLUMNS * CELL + GAP), moment, found[number], states)
    bottom = TOP + ROWS * CELL + 12 + 20 * len(states)
    per = total * PAGE // (COLUMNS * ROWS)
    parts.append(f'<text class="more" x="{LEFT}" y="{bottom + 16}">Guest memory by address, '
                 f'{per * COLUMNS >> 20} MiB in a row. A dot is {per >> 10} KiB, in the colour '
                 'that most of its pages have.</text>')
    return svg(WIDTH, bottom + 30, f"The memory of the guest in {len(moments)} moments", parts)


def step(span, most):
    """A round number that fits into span at most that often."""
    return next(one * ten for ten in (1, 10, 100, 1000, 10000) for one in (1, 2, 5)
                if span / (one * ten) <= most)


def timeline_svg(record):
    """All states over time, stacked; the parts of the story, and when the host took pages."""
    samples, across = record["samples"], WIDTH - LEFT - GAP
    total = sum(samples[0][1].values())
    # What is less than a dot anywhere is not listed.
    states = there_are([pages for _, pages in samples], total // CHART)
    first, last = samples[0][0], samples[-1][0]
    bottom = CHART_TOP + CHART

    def at(seconds):
        return LEFT + across * (seconds - first) / (last - first)

    parts, x = [], LEFT
    for state in states:
        parts.append(swatch(x, 8, state))
        x += 40 + 8 * len(LOOK[state][0])
    below = [(at(seconds), 0) for seconds, _ in samples]
    for state in states:
        above = [(x, height + pages[state]) for (x, height), (_, pages) in zip(below, samples)]
        points = " ".join(f"{x:.1f},{bottom - CHART * height / total:.2f}"
                          for x, height in above + below[::-1])
        parts.append(f'<polygon fill="{LOOK[state][1]}" points="{points}"/>')
        below = above
    parts.append(f'<rect class="frame" x="{LEFT - .5}" y="{CHART_TOP - .5}" '
                 f'width="{across + 1}" height="{CHART + 1}"/>')
    for quarter in range(5):
        parts.append(f'<text class="more" text-anchor="end" x="{LEFT - 8}" '
                     f'y="{bottom - CHART * quarter // 4 + 4}">'
                     f'{total * PAGE * quarter // 4 >> 20} MiB</text>')
    every = step(last - first, 10)
    for number in range(int((last - first) // every) + 1):
        x = at(first + number * every)
        parts.append(f'<text class="more" text-anchor="middle" x="{x:.1f}" '
                     f'y="{bottom + 18}">{number * every} s</text>')
    for moment in record["moments"]:
        x = at(moment["seconds"])
        # The page shows the one that is looked at.
        parts.append(f'<path class="moment" visibility="hidden" stroke="#000000" '
                     f'stroke-width="3" d="M{x:.1f} {CHART_TOP}V{bottom}"/>')
        if moment["name"].startswith("the host took"):
            parts.append(f'<path fill="#777777" '
                         f'd="M{x:.1f} {CHART_TOP - 2}l-5 -8h10z"/>')
    y, label = bottom + 40, 0
    for number, (seconds, title) in enumerate(record["parts"], 1):
        x = max(at(seconds), LEFT)
        label = max(x + 4, label + 12)
        parts.append(f'<path class="frame" stroke-dasharray="3 3" d="M{x:.1f} {CHART_TOP - 18}'
                     f'V{bottom}"/><text x="{label:.1f}" y="{CHART_TOP - 12}">{number}</text>')
        parts.append(f'<text x="{LEFT}" y="{y}">{escape(title)}</text>')
        y += 18
    parts.append(f'<text class="more" x="{LEFT}" y="{y}">\u25bc the host takes pages. Seconds '
                 'are of this run on that machine.</text>')
    return svg(WIDTH, y + 14, "States of the pages of the guest over time", parts)


def page_html(record):
    """One file that needs nothing else; tests/harness/page.html is what it is made from."""
    with open(os.path.join(os.path.dirname(__file__), "page.html"), encoding="utf-8") as file:
        text = file.read()
    data = {"title": record["title"], "moments": record["moments"], "page": PAGE,
            "look": [[LETTERS[state], state, *LOOK[state]] for state in LOOK]}
    # Nothing in a string may end the script.
    data = json.dumps(data).replace("<", "\\u003c")
    return text.replace("<!-- TIMELINE -->", timeline_svg(record)).replace("/* DATA */", data)


def draw(record, directory):
    """Write the record and all pictures of it."""
    pictures = {"record.json": json.dumps(record) + "\n", "memory.svg": map_svg(record),
                "timeline.svg": timeline_svg(record), "page.html": page_html(record)}
    os.makedirs(directory, exist_ok=True)
    for name, text in pictures.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(text)
