"""Weights scaled by the in-degree that a vertex has, against the one expected of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.lifts.initialisation import true_in_degrees


def ones(key, shape, dtype):
    return jnp.asarray(np.ones(shape), dtype)


MODULE = sj.graphs.mlp(inputs=3, hidden=3, outputs=2)
# Vertices of h2 with 3, 1 and 0 predecessors; h3 with two each.
LIFT = sj.lift_from_edges(
    MODULE,
    3,
    {
        "h1->h2": np.array([[0, 0], [1, 0], [2, 0], [1, 1]]),
        "h2->h3": np.array([[0, 0], [1, 0], [0, 1], [2, 1], [1, 2], [2, 2]]),
    },
)


def received(lift, params, edge):
    """Sum of squared weights into every vertex: the variance received from independent sources."""
    wiring = lift.wirings[edge]
    squares = np.square(np.asarray(params[edge])).reshape(*params[edge].shape[:2], -1).sum(-1)
    if getattr(wiring, "present", None) is not None:
        squares = np.where(np.asarray(wiring.present), squares, 0)
    return squares.sum(0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_vertex_with_predecessors_receives_unit_variance(dtype):
    options = {"law": ones, "scale_by": "in_degree", "bias_scale": 0.25, "dtype": dtype}
    params = LIFT.init(jax.random.key(0), **options)
    assert {str(weights.dtype) for weights in params.values()} == {dtype}
    assert all(np.isfinite(weights).all() for weights in params.values())
    tolerance = 10 * np.finfo(dtype).eps
    for edge, expected in {
        "x->h1": [1, 1, 1],  # three entries of one source
        "h1->h2": [1, 1, 0],
        "h2->h3": [1, 1, 1],
        "one->h2": [0.0625] * 3,
        "h3->y": [2],  # two outputs in one vertex, one each
    }.items():
        np.testing.assert_allclose(received(LIFT, params, edge), expected, rtol=tolerance)
    # Expected in-degrees give every edge the same scale, and the variance follows the wiring.
    params = LIFT.init(jax.random.key(0), law=ones)
    average = LIFT.in_degrees["h1->h2"]
    np.testing.assert_allclose(
        received(LIFT, params, "h1->h2"), np.array([3, 1, 0]) / average, rtol=1e-12
    )


def test_gains_and_silent_outputs_go_on_top():
    gains = {"h1->h2": 3.0}
    params = LIFT.init(
        jax.random.key(0), law=ones, scale_by="in_degree", gain=gains, zero_outputs=True
    )
    np.testing.assert_allclose(received(LIFT, params, "h1->h2"), [9, 9, 0], rtol=1e-12)
    np.testing.assert_allclose(received(LIFT, params, "h2->h3"), 1, rtol=1e-12)
    assert not np.any(params["h3->y"])


def test_lifts_inside_a_trace_are_scaled_by_the_wiring_of_each():
    pairs = np.array([[0, 2], [1, 2], [2, 2], [0, 0]])
    other = sj.lift_from_edges(MODULE, 3, {"h1->h2": pairs, "h2->h3": LIFT.edges("h2->h3")})
    lifts = jax.tree.map(lambda *leaves: jnp.stack(leaves), LIFT, other)
    draw = jax.jit(jax.vmap(lambda lift, key: lift.init(key, law=ones, scale_by="in_degree")))
    params = draw(lifts, jax.random.split(jax.random.key(0), 2))
    for number, (lift, expected) in enumerate([(LIFT, [1, 1, 0]), (other, [1, 0, 1])]):
        weights = {name: w[number] for name, w in params.items()}
        assert np.isfinite(weights["h1->h2"]).all()
        np.testing.assert_allclose(received(lift, weights, "h1->h2"), expected, rtol=1e-12)


def test_preactivations_have_the_variance_that_the_scale_promises():
    """Signs as sources: one at every in-degree by the true one, `k / lambda` by the expected."""
    n, rng = 1500, np.random.default_rng(3)
    degrees = rng.choice([1, 2, 6], size=n)
    pairs = np.concatenate(
        [np.stack([np.arange(k), np.full(k, v)], axis=1) for v, k in enumerate(degrees)]
    )
    module = sj.graphs.mlp(inputs=1, hidden=2, outputs=1, bias=False)
    lift = sj.lift_from_edges(module, {"h1": 6, "h2": n}, {"h1->h2": pairs})
    wiring, signs = lift.wirings["h1->h2"], rng.choice([-1.0, 1.0], size=6)
    seen = np.where(wiring.present, signs[np.asarray(wiring.predecessors)], 0)
    scales = ("in_degree", "expected_in_degree")

    def normal(key, shape, dtype):  # numpy's: what is under test is the scale
        return jnp.asarray(rng.normal(size=shape), dtype)

    for scale in scales:
        weights = lift.init(jax.random.key(0), law=normal, scale_by=scale)["h1->h2"]
        z = np.sum(np.asarray(weights) * seen, axis=0)
        for k in (1, 2, 6):
            expected = 1.0 if scale == "in_degree" else k / degrees.mean()
            squares = z[degrees == k] ** 2
            assert abs(squares.mean() / expected - 1) < 4 * np.sqrt(2 / len(squares)), (scale, k)


def test_true_in_degrees():
    assert true_in_degrees(LIFT.wirings["x->h1"]) == 1
    assert true_in_degrees(LIFT.wirings["h3->y"]) == 3
    assert true_in_degrees(LIFT.wirings["h1->h2"]).tolist() == [3, 1, 0]


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match="'expected_in_degree' or 'in_degree', not 'fan_out'"):
        LIFT.init(jax.random.key(0), scale_by="fan_out")
