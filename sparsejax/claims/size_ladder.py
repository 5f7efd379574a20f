"""Trials of claims that climb a ladder of sizes: a number of lifts at each."""

from collections.abc import Iterable

from sparsejax.claims.claim import Trial


def ladder_trials(sizes: Iterable[int], lifts: int) -> list[Trial]:
    """One trial a lift, size by size in the order given.

    >>> [trial.name for trial in ladder_trials((8, 16), 1)]
    ['size00008-lift000', 'size00016-lift000']
    """
    return [
        Trial(f"size{size:05d}-lift{number:03d}", {"size": size, "number": number})
        for size in sizes
        for number in range(lifts)
    ]


def trial_size(trial_name: str) -> int:
    """The size in the name of one of `ladder_trials`.

    >>> trial_size("size00016-lift000")
    16
    """
    return int(trial_name[len("size") : trial_name.index("-")])
