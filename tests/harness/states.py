"""Page states as QEMU's x-query-s390-cmma gives them."""

USAGES = [("stable", "s"), ("unused", "u"), ("potentially volatile", "p"),
          ("volatile", "v")]
CONTENTS = [("resident", "r"), ("preserved", "p"), ("zero", "z")]
PAGE = 4096


def mib(pages):
    return f"{pages * PAGE / (1 << 20):.1f} MiB"


def table(pages):
    """The usage x content table, in pages; '-' where the state is not valid."""
    head = f"{'':22}" + "".join(f"{name:>12}" for name, _ in CONTENTS)
    lines = [head]
    for usage, u in USAGES:
        cells = "".join(f"{pages.get(u + c, '-'):>12}" for _, c in CONTENTS)
        lines.append(f"{usage:22}{cells}")
    return "\n".join(lines)


def name(code):
    """The name that a state has in the table, as "vr"; code is what ESSA returns."""
    return "supv"[code >> 2 & 3] + "r?pz"[code & 3]


def runs(answer):
    """The map of an answer as [(name of a state, number of neighbours)]."""
    merged = []
    for run in answer["map"]:
        state = name(run["state"])
        if merged and merged[-1][0] == state:       # they differ in no-DAT only
            merged[-1] = state, merged[-1][1] + run["count"]
        else:
            merged.append((state, run["count"]))
    return merged
