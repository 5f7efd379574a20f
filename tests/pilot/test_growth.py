"""Growth goes on while it pays and no longer; halves of the validation rows judge in turn."""

import numpy as np
import pytest
import scipy.stats

from sparsejax.pilot import growth, layers
from sparsejax.pilot.folds import folds
from sparsejax.pilot.matched import ROOT, Parts, drawn_lift, module_of, sizes_for
from sparsejax.pilot.training import Runs, Training
from sparsejax.targets.table import Column, Table

Q = 3
PARTS = Parts(("a", "b"), ((0,), (1,)))
# What a widening brings differs so from split to split.
ASIDE = (0.001, -0.001)


def runs(networks, level):
    """Runs that all end at one loss."""
    losses = np.full((len(networks), 2), level)
    return Runs(losses, losses, (0.5, 0.5), tuple(networks), ("completed",) * len(networks))


@pytest.fixture(scope="module")
def parts():
    x = np.random.default_rng(0).normal(size=(50, Q))
    return folds(Table((Column("a"), Column("b"), Column("c")), x, x[:, 0]), 2, seed=0)


def chosen(count):
    module, sizes = module_of(PARTS, Q, 1), sizes_for(PARTS, 1, 60)
    drawn = [drawn_lift(module, PARTS, sizes, n) for n in range(count)]
    return [growth.Chosen(lift, PARTS, layers.of_lift(lift, p, Q, 1)) for lift, p in drawn]


@pytest.mark.parametrize(
    ("falls", "steps", "paid", "words"),
    [
        ((0.5, 0.0), 2, 1, "no fall"),
        pytest.param((0.0,), 1, 0, "no fall", marks=pytest.mark.slow),
        pytest.param((0.5, 0.3), 2, 2, "allowed", marks=pytest.mark.slow),
    ],
)
def test_it_stops_where_a_doubling_does_not_pay(monkeypatch, parts, falls, steps, paid, words):
    calls = []

    def trained(folds, candidates, task, training, seed):
        fall = falls[len(calls)]
        calls.append(candidates)
        rng = np.random.default_rng(0)
        result = []
        for networks, aside in zip(candidates, ASIDE, strict=True):
            own = [runs(start, 1.0) for start in networks]
            own[1] = runs(networks[1], 1.0 - fall + 0.01 * rng.normal())
            # The second part alone is worth something.
            own[3] = runs(networks[3], 0.8 + aside)
            result.append(own)
        return result

    monkeypatch.setattr(growth, "train", trained)
    current = chosen(2)
    found = growth.grow_while_it_pays(
        parts, current, "regression", Training(starts=1, tries=((0.1, 0.0),)), 0
    )
    assert len(calls) == len(found.steps) == steps
    assert sum(step.paid for step in found.steps) == paid and words in found.stopped
    grown = found.lifts[0].lift
    assert grown.sizes[ROOT] == current[0].lift.sizes[ROOT] * 2**paid
    # The lift that is kept computes what its matrices do, so that growth may go on from it.
    x = np.random.default_rng(1).normal(size=(4, Q))
    own = found.lifts[0].network
    outputs = grown.apply(layers.params_of(grown, own), x)
    np.testing.assert_allclose(outputs, own.outputs(x), atol=1e-12)
    best = found.widenings[0]
    assert best.what == "group b" and best.fall.mean == pytest.approx(0.2)
    # The best of four is chosen: its interval has a quarter of the five percent.
    half = scipy.stats.t.ppf(1 - 0.05 / 8, 1) * np.std(ASIDE, ddof=1) * np.sqrt(1 / 2 + 10 / 30)
    assert best.fall.high - best.fall.mean == pytest.approx(half)
    assert best.pays and not any(other.pays for other in found.widenings[1:])


def test_what_a_half_chooses_the_other_judges():
    network = layers.constant(Q, 1)
    first = np.array([[1.0, 0.1, 0.5], [1.0, np.inf, 0.4]])
    second = np.array([[1.0, 0.9, 0.2], [1.0, np.inf, 0.3]])
    found = Runs(first, second, (0.25, 0.75), (network, network), ("completed", "nan"))
    # The first half chooses where the second has 0.9; the second where the first has 0.5.
    assert found.judged == pytest.approx(0.75 * 0.9 + 0.25 * 0.5)
    assert found.validation[0].tolist() == pytest.approx([1.0, 0.7, 0.275])
    assert found.best == 0
    # Luck alone on either half promises nothing.
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200, 30))
    lucky = Runs(a, b, (0.5, 0.5), (network,) * 200, ("completed",) * 200)
    assert lucky.validation.min() < -2 and abs(lucky.judged) < 1.5
