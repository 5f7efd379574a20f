"""Targets are what they say, and data are clean before anything is trained."""

import numpy as np
import pytest

from sparsejax.targets import (
    CompositionalTarget,
    Dataset,
    Node,
    data_by_name,
    product_tree,
    real_data,
    sampled,
)


def test_product_tree():
    x = np.random.default_rng(0).uniform(-1, 1, size=(20, 8))
    expected = np.tanh(2 * x[:, 0] * x[:, 1]) * np.tanh(2 * x[:, 2] * x[:, 3])
    target = product_tree()
    np.testing.assert_allclose(np.asarray(target(np.asarray(x)))[:, 0], expected, rtol=1e-12)
    assert (target.support, target.arity) == ((1, 2, 3, 4), 2)


def test_nodes_may_come_in_any_order_and_be_shared():
    target = CompositionalTarget(
        2,
        (
            Node("a", lambda x: x + 1, ("x2",)),
            Node("y", lambda a, b: a * b, ("a", "b")),
        )[:1]
        + (Node("b", lambda a: 2 * a, ("a",)), Node("y", lambda a, b: a * b, ("a", "b"))),
    )
    assert np.asarray(target(np.array([[0.0, 2.0]]))).tolist() == [[18.0]]
    assert target.support == (2,)


@pytest.mark.parametrize(
    ("dims", "nodes", "said"),
    [
        (2, (), "at least one"),
        (2, (Node("y", abs, ("x3",)),), "node 'y': no parent 'x3'"),
        (2, (Node("x1", abs, ("x2",)),), "node 'x1': the name is taken twice"),
        (2, (Node("a", abs, ("b",)), Node("b", abs, ("a",))), "close a cycle"),
    ],
)
def test_bad_targets(dims, nodes, said):
    with pytest.raises(ValueError, match=said):
        CompositionalTarget(dims, nodes)


@pytest.mark.parametrize("name", ["diabetes", "digits"])
def test_real_data_are_standardised_by_the_training_part(name):
    data = real_data(name, samples=200, seed=3)
    assert data.x_train.shape[0] == 200
    spread = data.x_train.std(axis=0)
    np.testing.assert_allclose(data.x_train.mean(axis=0), 0, atol=1e-10)
    assert (np.isclose(spread, 1) | (spread == 0)).all()
    assert not np.allclose(data.x_test.mean(axis=0), 0, atol=1e-6)
    train = {row.tobytes() for row in data.x_train}
    if name == "diabetes":
        assert not train & {row.tobytes() for row in data.x_test}
        np.testing.assert_allclose(data.y_train.std(), 1)
    else:
        assert set(np.unique(data.y_train)) == {-1.0, 1.0}


def test_seeds_decide_everything():
    first, again, other = (sampled(product_tree(), 10, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert not np.array_equal(first.x_train, other.x_train)
    assert not np.array_equal(first.x_train, first.x_test[:10])


def test_bad_data_are_refused():
    x, y = np.zeros((3, 2)), np.zeros((3, 1))
    bad = x.copy()
    bad[1, 0] = np.nan
    with pytest.raises(ValueError, match="x is not finite in row 1, column 0"):
        Dataset("mine", bad, y, x, y)
    with pytest.raises(ValueError, match="x has 3 samples but y has 2"):
        Dataset("mine", x, y[:2], x, y)
    with pytest.raises(ValueError, match="unknown data set 'titanic'"):
        data_by_name("titanic", 10, 0)
    with pytest.raises(ValueError, match="samples must be positive"):
        data_by_name("synthetic", 0, 0)
    with pytest.raises(ValueError, match="training samples; 9999 were asked for"):
        real_data("digits", 9999, 0)


def test_without_a_number_there_are_400_samples_or_all_of_them():
    counts = [
        len(data_by_name(name, None, 0).x_train) for name in ("synthetic", "diabetes", "digits")
    ]
    assert counts == [400, 332, 400]
