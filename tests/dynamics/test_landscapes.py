"""Flows on difficult landscapes against their exact solutions, and their stops: one program."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special

import sparsejax as sj
from sparsejax.dynamics import Stop

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(5)
FEATURES, LABELS = RNG.normal(size=(8, 3)), RNG.normal(size=8)
DESIGN, VALUES = RNG.normal(size=(3, 6)), RNG.normal(size=3)
RATES = np.array([1.0, 10.0, 1000.0] + 9 * [0.0])
TRACES = []


def quadratic(w):
    return 0.5 * jnp.sum(RATES * w**2)


def double_well(w):
    """Negative curvature at the start, and a stiff direction beside it."""
    return 0.25 * (w[0] ** 2 - 1) ** 2 + 50 * w[1] ** 2


def kink(w):
    return jnp.abs(w[0])


def relu_regression(w):
    return jnp.mean((jax.nn.relu(FEATURES @ w[:3]) * w[3] - LABELS) ** 2)


def plateau(w):
    return -jnp.expm1(-0.5 * jnp.sum(w**2))


def sharpening(w):
    """Four scalar factors onto 4: the sharpness grows from about 3 to 32."""
    return 0.5 * (4 - jnp.prod(w[:4])) ** 2


def diagonal_network(w):
    return jnp.mean((DESIGN @ (w[:6] ** 2 - w[6:] ** 2) - VALUES) ** 2)


LANDSCAPES = [
    quadratic,
    double_well,
    kink,
    relu_regression,
    plateau,
    sharpening,
    diagonal_network,
]


class Landscape(eqx.Module):
    which: jax.Array

    def __call__(self, w):
        TRACES.append(w)
        return jax.lax.switch(self.which, LANDSCAPES, w)


def slope_of_product(t, w):
    """`dL / d(u u - v v)` of the diagonal network."""
    return 2 / 3 * DESIGN.T @ (DESIGN @ (w[:6] ** 2 - w[6:] ** 2) - VALUES)


PROBES = {"slope": slope_of_product}
NEVER = Stop(loss=-1.0, relative_loss=0.0, grad_norm=0.0, decay_rate=0.0)


def flows(which, starts, ts, stop=NEVER):
    """One lane for each landscape and start."""
    names = jnp.asarray([LANDSCAPES.index(landscape) for landscape in which])
    batch = np.zeros((len(starts), 12))
    for row, start in zip(batch, starts, strict=True):
        row[: len(start)] = start
    return eqx.filter_vmap(
        lambda index, start: sj.gradient_flow(
            Landscape(index),
            start,
            float(ts[-1]),
            saveat=ts,
            solver="rkc2",
            rtol=1e-6,
            max_steps=3000,
            probes=PROBES,
            stop=stop,
        )
    )(names, jnp.asarray(batch))


ALPHA = 0.3
STARTS = [
    [1.0, 1.0, 1.0],
    [0.01, 0.5],
    [1.0],
    [0.632, 0.066, -0.52, -0.645],
    [4.0],
    [0.5, 0.5, 0.5, 0.5],
    [ALPHA] * 12,
]
SHORT = np.linspace(0, 5, 121)
LONG = np.concatenate([[0.0], np.geomspace(1e-2, 1e4, 120)])


@pytest.fixture(scope="module")
def short():
    return flows(LANDSCAPES, STARTS, SHORT)


@pytest.fixture(scope="module")
def long(short):
    before = len(TRACES)
    found = flows(LANDSCAPES, STARTS, LONG)
    assert len(TRACES) == before, "another horizon compiled again"
    return found


@pytest.mark.parametrize("name", ["short", "long"])
def test_every_landscape_is_integrated_or_ends_by_name(name, request):
    found = request.getfixturevalue(name)
    # The kink of |w| is reached at t = 1, and no error control can step along it.
    expected = ["completed"] * len(LANDSCAPES)
    expected[2] = "step_budget_exhausted"
    assert list(found.status) == expected
    np.testing.assert_allclose(found.status_time[2], 1.0, atol=0.05)
    shown = np.asarray(found.ts) <= np.asarray(found.status_time)[:, None]
    np.testing.assert_array_equal(np.isfinite(found.losses), shown)
    # L_0 - L_t = int ||grad L||^2, everywhere.
    defects = np.where(shown, found.energy_defect, 0)
    scale = np.asarray(found.losses)[:, :1]
    assert np.abs(defects / scale).max() < 1e-3
    # What is dissipated without effect at the kink is noticed, and nothing else is.
    assert (np.delete(found.stats["energy_error"], 2) < 1e-3).all()
    assert found.warnings[0].startswith("the energy identity is off by 0.00")


@pytest.mark.parametrize("name", ["short", "long"])
def test_quadratic_double_well_and_kink_have_closed_forms(name, request):
    found = request.getfixturevalue(name)
    ts = np.asarray(found.ts[0])
    with np.errstate(under="ignore"):
        exact = np.exp(-RATES * ts[:, None])[:, :3]
        well = (1 + (0.01**-2 - 1) * np.exp(-2 * ts)) ** -0.5
    np.testing.assert_allclose(found.params[0, :, :3], exact, atol=1e-4)
    np.testing.assert_allclose(found.params[1, :, 0], well, atol=2e-3)
    before = ts < 0.95
    np.testing.assert_allclose(found.params[2, before, 0], 1 - ts[before], atol=1e-5)


def test_a_plateau_is_left_when_its_time_has_come(short, long):
    # r' = -r exp(-r^2 / 2): 2 t = Ei(r_0^2 / 2) - Ei(r^2 / 2).
    assert 3.99 < float(short.params[4, -1, 0]) < 4
    r = np.asarray(long.params[4, :, 0])
    moving = (r > 0.1) & (np.asarray(long.ts[4]) > 0)
    passed = (scipy.special.expi(8.0) - scipy.special.expi(r[moving] ** 2 / 2)) / 2
    np.testing.assert_allclose(passed, np.asarray(long.ts[4])[moving], rtol=1e-3)
    assert moving.sum() > 50 and r[-1] < 1e-3


def test_factors_follow_their_equation_while_the_sharpness_grows(short):
    # du/dt = 4 u^{3/2} (4 - u) for the balanced product u of four factors.
    u = np.prod(short.params[5, :, :4], axis=1)
    late = np.flatnonzero(u > 3.99)[0]
    assert late > 8
    ts = [
        scipy.integrate.quad(lambda x: 1 / (4 * x**1.5 * (4 - x)), 0.5**4, value)[0]
        for value in u[1:late]
    ]
    np.testing.assert_allclose(ts, SHORT[1:late], rtol=1e-3)
    assert abs(u[-1] - 4) < 1e-4


def test_diagonal_networks_are_mirror_descent_with_their_own_bias(short, long):
    def product(found):
        w = np.asarray(found.params[6])
        return w[:, :6] ** 2 - w[:, 6:] ** 2

    # b = 2 alpha^2 sinh(-4 g), g the integral of the slope.
    g = scipy.integrate.cumulative_simpson(
        np.asarray(short.probes["slope"][6]), x=SHORT, axis=0, initial=0
    )
    np.testing.assert_allclose(product(short), 2 * ALPHA**2 * np.sinh(-4 * g), atol=2e-4)

    # The limit is the interpolant of least sum of q(b / alpha^2).
    def potential(b):
        z = b / ALPHA**2
        return np.sum(2 - np.sqrt(4 + z**2) + z * np.arcsinh(z / 2))

    best = scipy.optimize.minimize(
        potential,
        np.linalg.lstsq(DESIGN, VALUES, rcond=None)[0],
        jac=lambda b: np.arcsinh(b / ALPHA**2 / 2) / ALPHA**2,
        constraints={"type": "eq", "fun": lambda b: DESIGN @ b - VALUES, "jac": lambda b: DESIGN},
        tol=1e-12,
    )
    np.testing.assert_allclose(product(long)[-1], best.x, atol=1e-3)
    shortest = np.linalg.lstsq(DESIGN, VALUES, rcond=None)[0]
    assert np.abs(product(long)[-1] - shortest).max() > 0.02, "any interpolant would have passed"


def rates(t):
    """Loss, gradient norm and relative decay of the quadratic from (1, 1)."""
    loss = 0.5 * (np.exp(-2 * t) + 10 * np.exp(-20 * t))
    squared = np.exp(-2 * t) + 100 * np.exp(-20 * t)
    return loss, np.sqrt(squared), squared / loss


@pytest.mark.parametrize(
    "options, measure",
    [
        ({"loss": 0.1}, 0),
        ({"relative_loss": 0.1 / 5.5}, 0),
        ({"grad_norm": 0.4}, 1),
        ({"decay_rate": 2.5}, 2),
    ],
)
def test_the_crossing_is_located_and_named(short, options, measure):
    (name, threshold), before = *options.items(), len(TRACES)
    stop = Stop(**({"loss": -1.0, "relative_loss": 0, "grad_norm": 0, "decay_rate": 0} | options))
    level = 0.1 if measure == 0 else threshold
    crossing = scipy.optimize.brentq(lambda t: rates(t)[measure] - level, 0, 5, xtol=1e-12)
    # Lanes: one that crosses, one that starts beyond, five that never come there.
    starts = [[1.0, 1.0], [0.3, 0.0]] + [[1.0, 1.0]] * 5
    found = flows([quadratic] * 7, starts, SHORT, stop)
    assert len(TRACES) == before, "another threshold compiled again"
    assert found.status[0] == f"reached_{name}"
    np.testing.assert_allclose(found.status_time[0], crossing, atol=1e-4)
    np.testing.assert_allclose(found.end[0, :2], np.exp(-np.array([1, 10]) * crossing), atol=1e-4)
    np.testing.assert_array_equal(np.isfinite(found.losses[0]), SHORT <= crossing)
    if name != "relative_loss":
        # Below the threshold from the start: there, at time zero.
        assert found.status[1] == f"reached_{name}" and float(found.status_time[1]) == 0
        np.testing.assert_array_equal(np.isfinite(found.losses[1]), SHORT == 0)
        np.testing.assert_array_equal(found.end[1, 0], 0.3)


@pytest.mark.parametrize("options", [{"loss": np.nan}, {"grad_norm": -1.0}, {"relative_loss": 1.0}])
def test_a_stop_that_means_nothing_is_refused(options):
    with pytest.raises(ValueError, match=f"stop: {next(iter(options))}"):
        Stop(**options)
