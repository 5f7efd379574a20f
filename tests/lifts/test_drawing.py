"""Pictures of lifts: every edge in its place, thinned pictures of large ones, weights as shades."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.graphs.layout import positions
from sparsejax.lifts import SparseWiring
from sparsejax.lifts.drawing import shown_edges, shown_vertices, strengths

MODULE = sj.graphs.mlp(inputs=2, hidden=2, outputs=1, bias=False, input_as="coordinates")
PAIRS = np.array([[0, 0], [2, 0], [3, 2], [1, 3]])
LIFT = sj.lift_from_edges(MODULE, 4, {"h1->h2": PAIRS})


def sparse(n, k):
    """`k` predecessors each of `n` vertices, by numpy alone: the transposed wiring is not drawn."""
    rng = np.random.default_rng(0)
    predecessors = np.stack([np.sort(rng.choice(n, k, replace=False)) for _ in range(n)], axis=1)
    empty = jnp.zeros((0, n), jnp.int32)
    wiring = SparseWiring(jnp.asarray(predecessors, jnp.int32), None, empty, empty > 0, n)
    lift = sj.dense_lift(MODULE, n)
    return dataclasses.replace(lift, wirings=lift.wirings | {"h1->h2": wiring})


def segments(figure, number):
    """The lines over the base edge of that number, ends and opacities."""
    collection = figure.axes[0].collections[number]
    ends = np.array([[line[0], line[-1]] for line in collection.get_segments()])
    return ends, np.asarray(collection.get_edgecolor())[:, 3]


def test_a_small_lift_is_drawn_edge_by_edge():
    figure = LIFT.draw()
    where = positions(MODULE, columns=True)
    heights = np.array([1, 2 / 3, 1 / 3, 0])
    ends, _ = segments(figure, 1)
    assert len(ends) == len(PAIRS)
    np.testing.assert_allclose(ends[:, 0, 0], where["h1"][0])
    np.testing.assert_allclose(ends[:, 1, 0], where["h2"][0])
    drawn = {(round(a, 6), round(b, 6)) for a, b in ends[:, :, 1]}
    assert drawn == {(round(heights[u], 6), round(heights[v], 6)) for u, v in PAIRS}
    columns = figure.axes[0].collections[3:]
    assert [len(column.get_offsets()) for column in columns] == [2, 4, 4, 1]
    assert figure.get_suptitle() == ""
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == ["x × 2", "h1 × 4", "h2 × 4", "y"]
    assert len(figure.axes[1].texts) > 0  # the base graph below


def test_edges_are_as_dark_as_their_weights():
    weights = np.zeros((2, 4))
    weights[0, 0], weights[1, 0], weights[0, 2], weights[0, 3] = 1.0, -4.0, 2.0, 0.0
    params = {
        "x->h1": np.ones((2, 4)),
        "h1->h2": weights,
        "h2->y": np.ones((4, 1, 1)),
    }
    params = {name: jnp.asarray(values) for name, values in params.items()}
    ends, alphas = segments(LIFT.draw(params), 1)
    # Slot-major: 0->0, 3->2, 1->3, then 2->0.
    np.testing.assert_allclose(alphas, 0.06 + 0.94 * np.array([1 / 4, 1 / 2, 0, 1]), atol=1e-6)
    assert ends[3, 0, 1] == pytest.approx(1 / 3)
    arrays = np.zeros((2, 4, 2))
    arrays[0, 0], arrays[1, 0] = (3, 4), (0, 10)
    slots, targets = np.array([0, 1]), np.array([0, 0])
    np.testing.assert_allclose(strengths(arrays, slots, targets), [0.5, 1.0])
    np.testing.assert_array_equal(strengths(0 * arrays, slots, targets), [0.0, 0.0])


def test_a_large_lift_is_thinned_to_paths_and_says_so():
    lift = sparse(200, 3)
    shown = shown_vertices(lift, 10)
    assert {name: len(kept) for name, kept in shown.items()} == {"x": 2, "h1": 10, "h2": 10, "y": 1}
    for kept in shown.values():
        assert (np.diff(kept) > 0).all()
    first = np.asarray(lift.wirings["h1->h2"].predecessors)[0, shown["h2"]]
    assert set(first) <= set(shown["h1"])
    pairs, slots = shown_edges(lift.wirings["h1->h2"], shown["h1"], shown["h2"])
    expected = [
        (int(u), int(v))
        for v in shown["h2"]
        for u in np.asarray(lift.wirings["h1->h2"].predecessors)[:, v]
        if u in shown["h1"]
    ]
    assert sorted(map(tuple, pairs)) == sorted(expected)
    np.testing.assert_array_equal(
        np.asarray(lift.wirings["h1->h2"].predecessors)[slots, pairs[:, 1]], pairs[:, 0]
    )
    figure = lift.draw(most=10)
    title = figure.get_suptitle()
    assert title == "Thinned: 10 of 200 above h1, 10 of 200 above h2, and the edges among them"
    assert len(segments(figure, 1)[0]) == len(pairs) >= 10


def test_a_dense_lift_of_any_size_costs_what_is_shown():
    """Its 10^12 edges are never listed."""
    lift = sj.dense_lift(MODULE, 10**6)
    figure = lift.draw(most=3)
    assert len(segments(figure, 1)[0]) == 9


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="most must be positive, got 0"):
        LIFT.draw(most=0)
    wiring = LIFT.wirings["h1->h2"]
    batched = dataclasses.replace(wiring, predecessors=wiring.predecessors)
    object.__setattr__(batched, "predecessors", wiring.predecessors[None])
    many = dataclasses.replace(LIFT, wirings=LIFT.wirings | {"h1->h2": batched})
    with pytest.raises(ValueError, match="'h1->h2': its wiring is a batch of wirings"):
        many.draw()
