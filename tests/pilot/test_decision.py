"""The verdict from made-up test losses whose right answer is known."""

import numpy as np
import pytest

from sparsejax.pilot.comparison import Interval
from sparsejax.pilot.decision import decide
from sparsejax.pilot.growth import Growth, GrowthStep, Widening

SPLITS, RATIO = 8, 1 / 3
NOISE = np.random.default_rng(0).normal(size=(6, SPLITS))


CANDIDATES = ("lift", "dense", "shallow", "linear", "boosting", "constant")


def losses(spread=0.005, **means):
    """Losses about given means, whose differences vary by `spread` from split to split."""
    common = 0.05 * np.sin(np.arange(SPLITS))
    return {
        name: mean + common + spread * NOISE[place]
        for place, (name, mean) in enumerate(means.items())
    }


RIVALS = {"dense": 0.5, "shallow": 0.5, "linear": 0.6, "boosting": 0.5, "constant": 1.0}


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        (dict(lift=0.3, **RIVALS), "structure pays"),
        (dict(lift=0.5, **RIVALS), "a small sparse model is enough"),
        (dict(lift=0.5, **RIVALS | {"shallow": 0.3}), "structure does not pay here"),
        (dict(lift=0.5, **RIVALS | {"boosting": 0.3}), "another kind of model is better"),
        # Better than its equals, but not than another kind: that decides.
        (dict(lift=0.4, **RIVALS | {"boosting": 0.3}), "another kind of model is better"),
        (dict(lift=1.0, **RIVALS), "structure does not pay here"),
        (
            {
                "lift": 1.0,
                "dense": 1.0,
                "shallow": 1.0,
                "linear": 1.0,
                "boosting": 0.5,
                "constant": 1.0,
            },
            "another kind of model is better",
        ),
        (
            {
                "lift": 1.0,
                "dense": 1.0,
                "shallow": 1.01,
                "linear": 1.0,
                "boosting": 1.02,
                "constant": 1.0,
            },
            "nothing to learn",
        ),
    ],
)
def test_a_clear_case_gets_its_verdict(means, verdict):
    assert decide(losses(**means), RATIO, found=SPLITS).verdict == verdict


def test_overlap_is_told_with_what_would_help():
    decision = decide(losses(0.1, lift=0.5, **RIVALS), RATIO)
    assert decision.verdict == "cannot tell" and "8 splits overlap" in decision.why
    assert "only more rows would" in decision.why
    # Of independent splits more would tell.
    alone = decide(losses(0.1, lift=0.45, **RIVALS), 0.0)
    assert alone.verdict == "cannot tell" and "would tell them apart" in alone.why


def test_what_few_rows_do_not_show_is_not_called_nothing():
    # The dense network explains most on average, but splits differ as widely.
    wide = losses(0.01, **dict.fromkeys(CANDIDATES, 1.0))
    wide["dense"] = wide["constant"] - 0.7 - 1.5 * NOISE[0]
    decision = decide(wide, RATIO, found=0)
    assert decision.verdict == "cannot tell" and "more rows" in decision.next_step
    assert "dense network may gain up to" in decision.why
    # Were splits to share less, more of them would tell.
    assert "splits would tell" in decide(wide, 0.1, found=0).next_step
    # By hand: the one-sided 95% end of the mean gain, with seven degrees of freedom.
    gain = wide["constant"] - wide["dense"]
    end = gain.mean() + 1.894579 * gain.std(ddof=1) * np.sqrt(1 / SPLITS + RATIO)
    assert f"{end / wide['constant'].mean():.0%}" in decision.why


def test_a_lift_that_may_do_as_well_is_not_condemned_for_not_having_shown_it():
    # The linear model is surely better than a constant; whether the lift is does not show.
    means = dict.fromkeys(CANDIDATES, 1.0) | {"lift": 0.93, "linear": 0.93}
    unsure = losses(0.001, **means)
    unsure["lift"] = unsure["lift"] + 0.08 * (NOISE[1] - NOISE[1].mean())
    decision = decide(unsure, RATIO, found=3)
    assert decision.verdict == "cannot tell"
    assert "no better than a constant" in decision.why and "3 of 8 splits" in decision.why


def test_ties_with_the_constant_are_never_a_win():
    same = np.ones(SPLITS)
    decision = decide(dict.fromkeys(CANDIDATES, same), RATIO, found=0)
    assert decision.verdict == "nothing to learn" and "No column" in decision.why


def test_a_grown_lift_stands_against_other_kinds_and_never_against_its_equals():
    means = dict(lift=0.5, **RIVALS | {"boosting": 0.3})
    grown = losses(**means) | {"grown lift": losses(lift=0.2)["lift"]}
    of = {each.rival: each.difference.mean for each in decide(grown, RATIO).comparisons}
    assert of["boosting"] == pytest.approx(-0.1, abs=0.02)
    assert of["dense"] == pytest.approx(0.0, abs=0.02)


def test_the_next_step_is_the_widening_that_pays_most():
    def widening(what, low, mean):
        return Widening(what, Interval(mean, low, 2 * mean - low), 40.0, SPLITS)

    def growth(paid, *widenings):
        step = GrowthStep(100.0, 200.0, Interval(0.1, 0.05 if paid else -0.05, 0.2), paid)
        return Growth((step,), "", widenings, (), ())

    table = losses(lift=0.3, **RIVALS)
    both = growth(False, widening("group a", -0.1, 0.3), widening("group b", 0.1, 0.2))
    # The larger fall of the two is within its uncertainty.
    assert "Widen next: group b" in decide(table, RATIO, both).next_step
    none = growth(False, widening("group a", -0.1, 0.3))
    assert "Widen nothing yet" in decide(table, RATIO, none).next_step
    assert "grown to 200 parameters" in decide(table, RATIO, growth(True)).next_step
