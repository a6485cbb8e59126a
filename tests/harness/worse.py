"""What became of tests before and after a change."""

RANK = ["not ok", "skipped", "ok"]


def worse(before, after):
    """The names of the tests that a change spoils; one that is gone counts as failed."""
    return [name for name, state in before.items()
            if RANK.index(after.get(name, "not ok")) < RANK.index(state)]
