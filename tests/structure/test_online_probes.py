"""Coefficients against transforms and quadrature, stages of curves whose times are known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.structure import (
    HermiteProbe,
    InputWeightNorms,
    WalshProbe,
    change_points,
    cube_inputs,
    gaussian_inputs,
    input_weight_norms,
    rise_times,
    stages,
)

KEY = jax.random.key(0)


def network(params, x):
    w, a = params
    return jnp.tanh(x @ w) @ a


PARAMS = tuple(
    jax.random.normal(jax.random.key(k), shape) for k, shape in ((1, (4, 6)), (2, (6, 1)))
)
SUBSETS = [s for k in range(5) for s in itertools.combinations((1, 2, 3, 4), k)]


def test_walsh_coefficients_are_those_of_the_whole_cube():
    """By Parseval, and by the definition; two backgrounds of four relevant coordinates are exact."""
    points = np.array(list(itertools.product((-1.0, 1.0), repeat=4)))
    values = np.asarray(network(PARAMS, points))[:, 0]
    found = np.asarray(WalshProbe(SUBSETS, points)(network, PARAMS))
    np.testing.assert_allclose(np.sum(found**2), np.mean(values**2), rtol=1e-12)
    by_hand = [np.mean(values * np.prod(points[:, [i - 1 for i in s]], axis=1)) for s in SUBSETS]
    np.testing.assert_allclose(found, by_hand, atol=1e-14)

    def of_some(params, x):  # reads coordinates 2, 5, 6 and 9 of nine
        return network(params, x[:, np.array([1, 4, 5, 8])])

    place = {1: 2, 2: 5, 3: 6, 4: 9}
    terms = [tuple(place[i] for i in s) for s in SUBSETS]
    inputs = cube_inputs(KEY, 2, 9, (2, 5, 6, 9))
    assert set(np.unique(inputs)) == {-1.0, 1.0}
    np.testing.assert_allclose(WalshProbe(terms, inputs)(of_some, PARAMS), found, atol=1e-14)
    # An expansion's pairs of set and coefficient are terms as well.
    pairs = [(term, 7.0) for term in terms]
    np.testing.assert_array_equal(WalshProbe(pairs, inputs).rows, WalshProbe(terms, inputs).rows)


def test_what_other_coordinates_do_is_sampled_without_bias():
    def f(params, x):
        return x[:, :1] * (0.3 + x[:, 3:4])

    inputs = cube_inputs(KEY, 64, 5, (1,))
    background = inputs[::2, 3].mean()
    found = WalshProbe([(1,), (1, 4)], inputs)(f, jnp.ones(()))
    np.testing.assert_allclose(found, [0.3 + background, 1 + 0.3 * background], atol=1e-12)


def test_hermite_coefficients_of_known_expansions():
    """`exp(c z - c^2/2) = sum_k c^k / sqrt(k!) h_k(z)`; polynomials are exact."""

    def f(c, x):
        return jnp.exp(c * x[:, 2:3] - c**2 / 2) * (1 + x[:, :1])

    x, weights = gaussian_inputs(KEY, 2, 3, (1, 3), nodes=24)
    terms = [(), (3,), (3, 3), (3, 3, 3), (1, 3, 3), (1, 1)]
    c = 0.7
    powers = [1, c, c**2 / np.sqrt(2), c**3 / np.sqrt(6), c**2 / np.sqrt(2), 0]
    found = HermiteProbe(terms, x, weights)(f, jnp.asarray(c))
    np.testing.assert_allclose(found, powers, atol=1e-10)
    plain = HermiteProbe([(1,)], x)  # equal weights
    np.testing.assert_allclose(plain.rows[0], x[:, 0] / len(x))


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: WalshProbe([(1, 1)], np.ones((2, 3))), "name it once"),
        (lambda: WalshProbe([(4,)], np.ones((2, 3))), "counted from 1 to 3"),
        (lambda: HermiteProbe([(0,)], np.ones((2, 3))), "counted from 1 to 3"),
        (lambda: HermiteProbe([(1,)], np.ones((2, 3)), np.ones(3)), "weights have shape"),
        (lambda: cube_inputs(KEY, 0, 3, (1,)), "backgrounds must be positive"),
        (lambda: cube_inputs(KEY, 1, 3, (1, 4)), "support: different coordinates"),
        (lambda: gaussian_inputs(KEY, 1, 9, range(1, 9)), "too large"),
        (lambda: gaussian_inputs(KEY, 1, 3, (1,), nodes=0), "nodes must be positive"),
        (lambda: rise_times([0, 1], np.ones((1, 2, 1)), 0.0), "has no direction"),
        (lambda: change_points([0, 1], np.full((1, 2, 1), np.nan)), "needs two records"),
        (lambda: stages(np.full((2, 1), np.nan)), "infinite where not reached"),
        (lambda: stages(np.ones((2, 1)), 2.0), "confidence must lie"),
        (lambda: input_weight_norms({"w": jnp.ones(2)}, {"v": 0}), "no leaf 'v'"),
        (lambda: input_weight_norms({"w": jnp.ones(2)}, {"w": ()}), "no axis"),
        (
            lambda: input_weight_norms({"v": jnp.ones(2), "w": jnp.ones(3)}, {"v": 0, "w": 0}),
            "agree on their number",
        ),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


STEPS = np.arange(0, 1000, 10)


def sigmoids(times, width=15.0, heights=None):
    heights = np.ones(len(times[0])) if heights is None else np.asarray(heights)
    return heights / (1 + np.exp(-(STEPS[None, :, None] - np.asarray(times)[:, None]) / width))


def test_times_of_rise_of_logistic_curves():
    """Half of its height is where a logistic curve is centred, whatever its sign."""
    centres = np.array([[103.0, 350.0, 777.0], [98.0, 362.0, 640.0]])
    curves = sigmoids(centres, heights=[1.0, -2.0, 0.5])
    found = rise_times(STEPS, curves, [0.5, -1.0, 0.25])
    np.testing.assert_allclose(found, centres, atol=0.2)
    np.testing.assert_allclose(change_points(STEPS, curves), centres, atol=10.0)
    # A lane that ended between them has not seen the last.
    curves[0, 60:] = np.nan
    found = rise_times(STEPS, curves, [0.5, -1.0, 0.25])
    assert np.isinf(found[0, 2]) and np.isfinite(found[1]).all()
    assert abs(change_points(STEPS, curves)[0, 1] - 350) < 10


def test_change_points_are_the_best_of_all_cuts():
    curve = np.random.default_rng(0).normal(size=30)

    def misfit(cut):
        return sum(np.sum((part - part.mean()) ** 2) for part in (curve[:cut], curve[cut:]))

    best = min(range(1, 30), key=misfit)
    found = change_points(np.arange(30), curve[None, :, None])
    assert found[0, 0] == best - 0.5


def test_rises_at_the_start_and_never():
    curves = np.array([[[2.0, 0.0], [2.0, 0.1]]])
    np.testing.assert_array_equal(rise_times([0, 10], curves, 1.0), [[0.0, np.inf]])


def test_medians_intervals_and_order_of_stages():
    """Of nine ordered times the median's 95 % interval ends at the second and the eighth."""
    first = np.arange(1.0, 10.0)
    found = stages(np.stack([first, first + 0.5, np.full(9, np.inf)], axis=1))
    np.testing.assert_allclose(found.median, [5.0, 5.5, np.inf])
    np.testing.assert_allclose([found.low[0], found.high[0]], [2.0, 8.0])
    assert found.in_order.all() and np.isinf(found.high[2])
    few = stages(np.array([[1.0, 2.0], [2.0, 1.0], [np.inf, np.inf]]))
    assert few.in_order.tolist() == [True, False, False]
    assert np.isneginf(few.low).all() and np.isinf(few.high).all()


def test_norms_of_input_weights_over_leaves_and_axes():
    rng = np.random.default_rng(0)
    v, w = rng.normal(size=(6, 4)), rng.normal(size=(2, 5, 3))
    params = {"v": jnp.asarray(v), "layer": {"w": jnp.asarray(w)}}
    axes = {"v": 0, "layer/w": (2, 0)}
    expected = np.sqrt((v**2).sum(1) + (w**2).sum(1).T.reshape(-1))
    np.testing.assert_allclose(input_weight_norms(params, axes), expected, rtol=1e-12)
    np.testing.assert_allclose(InputWeightNorms(axes)(None, params), expected, rtol=1e-12)
