"""Structure from tables alone: closed forms, invariances, what must be told and what must not."""

import dataclasses
import functools

import numpy as np
import pytest
import scipy.stats

from sparsejax.graphs import Dag
from sparsejax.structure import agreement, dag_distance, discover, parts_of_dag, recovered_dag
from sparsejax.structure.discover import as_json
from sparsejax.structure.groups import components, cut_at_the_widest_gap, true_groups
from sparsejax.structure.separability import best_partition, inseparability
from sparsejax.structure.surrogate import log_chi2_tail
from sparsejax.targets import (
    Column,
    MissingCompletelyAtRandom,
    Table,
    corrupt,
    ishigami_indices,
    ishigami_table,
    monk3_indices,
    monk3_table,
    random_parts,
)


def table_of(x, y, **fields):
    return Table(tuple(Column(f"c{i}") for i in range(x.shape[1])), x, y, **fields)


@functools.cache
def small():
    """A product, a curve, and three idle columns; some noise, some gaps."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(600, 6))
    y = 2 * x[:, 0] * x[:, 4] + np.sin(3 * x[:, 2]) + 0.1 * rng.normal(size=600)
    x[rng.random(x.shape) < 0.05] = np.nan
    return table_of(x, y)


def test_groups_of_a_product_and_a_curve():
    found = discover(small())
    assert found.support[0] == "c2" and set(found.groups) == {("c2",), found.groups[1]}
    assert set(found.groups[1]) == {"c0", "c4"} and not found.additive
    assert [sorted((p.first, p.second)) for p in found.interactions] == [["c0", "c4"]]
    assert found.null_level < 0.02 < found.importances[-1].total
    assert parts_of_dag(found.dag) == (("c0", "c4"), ("c2",))
    assert found.places == tuple(
        tuple(int(name[1:]) + 1 for name in group) for group in found.groups
    )


def test_units_and_order_of_rows_do_not_matter():
    table, found = small(), discover(small())
    x = table.values.copy()
    x[:, 0] = np.exp(2 * x[:, 0])
    x[:, 2] = 1000 * x[:, 2] ** 3
    order = np.random.default_rng(1).permutation(table.rows)
    other = discover(dataclasses.replace(table, values=x, target=5 - 3 * table.target).take(order))
    assert other.support == found.support and other.groups == found.groups
    # Penalty and halves see rows in another order; shares are sums over all of them.
    for ours, theirs in zip(found.importances, other.importances, strict=True):
        assert theirs.total == pytest.approx(ours.total, abs=1e-6)


def test_shares_of_ishigami_and_of_the_rule():
    exact = ishigami_indices()
    found = discover(ishigami_table(3000, 0, noise=0.1))
    assert set(map(frozenset, found.groups)) == {frozenset({"x1", "x3"}), frozenset({"x2"})}
    for importance in found.importances:
        coordinate = int(importance.name[1])
        assert importance.total == pytest.approx(exact.total(coordinate), abs=0.03)
        assert importance.first == pytest.approx(exact.first(coordinate), abs=0.03)
    rule = monk3_indices()
    found = discover(monk3_table(None, 0))
    assert sorted(found.groups[0]) == ["a2", "a4", "a5"] and len(found.groups) == 1
    for importance in found.importances:
        assert importance.total == pytest.approx(rule.total(int(importance.name[1])), abs=1e-3)


def test_a_parity_of_three_is_found_though_no_pair_tells():
    x = np.random.default_rng(0).choice([-1.0, 1.0], size=(500, 6))
    found = discover(table_of(x, x[:, 0] * x[:, 3] * x[:, 5]))
    assert set(found.support) == {"c0", "c3", "c5"} and len(found.groups) == 1


def test_a_tree_of_products_shows_in_four_columns_at_once():
    """No three columns of tanh(2 x1 x2) tanh(2 x3 x4) tell anything: all is odd in each."""
    x = np.random.default_rng(0).uniform(-1, 1, size=(2000, 6))
    y = np.tanh(2 * x[:, 0] * x[:, 1]) * np.tanh(2 * x[:, 2] * x[:, 5])
    found = discover(table_of(x, y))
    assert sorted(map(sorted, found.groups)) == [["c0", "c1"], ["c2", "c5"]]
    # Of a product of four any two are separable: no partition is the right one.
    found = discover(table_of(x, x[:, 0] * x[:, 1] * x[:, 2] * x[:, 5]))
    assert list(map(sorted, found.groups)) == [["c0", "c1", "c2", "c5"]]


def test_tails_beyond_the_smallest_number_go_on_as_the_library_s():
    for freedom in (1, 4, 31):
        finite = [log_chi2_tail(1390.0, freedom), log_chi2_tail(1395.0, freedom)]
        # The slope of the logarithm is all but constant there.
        expected = finite[1] + 43 * (finite[1] - finite[0])
        assert scipy.stats.chi2.logsf(1610.0, freedom) == -np.inf
        assert abs(log_chi2_tail(1610.0, freedom) - expected) < 0.3
    x = np.random.default_rng(0).uniform(-1, 1, size=(1000, 2))
    pair = discover(table_of(x, x[:, 0] * x[:, 1])).interactions[0]
    assert -np.inf < pair.log10_p < -300


def test_a_sum_is_additive():
    x = np.random.default_rng(0).normal(size=(400, 4))
    found = discover(table_of(x, x[:, 0] + x[:, 1] ** 2))
    assert found.additive and sorted(found.groups) == [("c0",), ("c1",)]
    assert found.suggested_module.startswith("graphs.from_target: a sum")


def test_a_permuted_target_shows_nothing():
    """At level 0.01 each: two of six with anything have a chance below one percent."""
    shown = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        table = small().take(np.arange(300))
        shown += bool(
            discover(dataclasses.replace(table, target=rng.permutation(table.target))).support
        )
    assert shown <= 1


def test_nothing_at_all():
    rng = np.random.default_rng(0)
    found = discover(table_of(rng.normal(size=(100, 3)), rng.normal(size=100)))
    assert found.support == found.groups == () and found.dag is None and found.additive
    assert as_json(found)["suggested_module"].startswith("none")


def test_missingness_itself_can_be_what_matters():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3))
    x[rng.random(500) < 0.3, 1] = np.nan
    found = discover(table_of(x, np.isnan(x[:, 1]) + 0.1 * rng.normal(size=500)))
    assert found.support == ("c1",)


def test_duplicates_and_correlated_columns_are_told():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 4))
    x[:, 1] = x[:, 0] + 0.7 * rng.normal(size=800)
    x[:, 3] = np.exp(x[:, 2])
    found = discover(table_of(x, x[:, 0] + x[:, 2] + 0.1 * rng.normal(size=800)))
    # What the correlated column says the other one says better.
    assert set(found.support) == {"c0", "c2"}
    words = " ".join(found.warnings)
    assert "'c3' says the same as 'c2'" in words and "c0 and c1 (0.8" in words


def test_classes_and_categories():
    rng = np.random.default_rng(0)
    kind, x = rng.integers(0, 3, 500), rng.normal(size=(500, 2))
    label = np.where(kind == 0, x[:, 0] > 0, kind == 1) + (kind == 2) * 1.0
    columns = (Column("kind", "category", ("u", "v", "w")), Column("a"), Column("b"))
    table = Table(columns, np.column_stack([kind * 1.0, x]), label.astype(float),
                  "classification", "class", ("no", "yes"))  # fmt: skip
    found = discover(table)
    assert found.groups == (("kind", "a"),) and found.explained > 0.8


def test_few_rows_and_empty_columns():
    with pytest.raises(ValueError, match="at least 20"):
        discover(table_of(np.zeros((10, 2)), np.arange(10.0)))
    x = np.column_stack([np.full(50, np.nan), np.full(50, 1.0), np.arange(50.0)])
    assert discover(table_of(x, np.arange(50.0))).support == ("c2",)


def test_true_groups_are_of_the_function_and_not_of_samples():
    for seed in range(2):
        target = random_parts(seed)
        named = tuple(tuple(f"x{i}" for i in part) for part in true_groups(target, samples=512))
        # A sum's components are at least as fine as its parts; these interact in every part.
        assert named == parts_of_dag(target.dag)
    smooth = random_parts(0, root="smooth")
    assert len(true_groups(smooth, samples=512)) == len(parts_of_dag(smooth.dag))


@pytest.mark.parametrize("root", ["sum", pytest.param("smooth", marks=pytest.mark.slow)])
def test_random_targets_are_found(root):
    """The benchmark's table holds the rates; here that one of each root is right."""
    for seed in (3,):
        target = random_parts(seed, root=root)
        x = np.random.default_rng(0).uniform(-1, 1, size=(1500, 10))
        table = table_of(x, np.asarray(target(x), float)[:, 0])
        found = discover(corrupt(table, [MissingCompletelyAtRandom(0.02)], 0))
        measured = agreement(found.places, true_groups(target, samples=512), 10)
        assert measured.f1 == 1 and measured.rand_index == 1


def test_separable_pairs_by_derivatives_of_a_composition():
    """f = tanh(u v + w) with u = x1 x2, v = x3, w = x4^2: only (x1, x2) never turns."""
    x = np.random.default_rng(0).normal(size=(400, 4))
    h = 1e-4

    def f(x):
        return np.tanh(x[:, 0] * x[:, 1] * x[:, 2] + x[:, 3] ** 2)

    def moved(*places):
        return x + h * np.eye(4)[list(places)].sum(axis=0)

    gradient = np.stack([(f(moved(i)) - f(x)) / h for i in range(4)], axis=1)
    second = np.stack(
        [
            np.stack(
                [(f(moved(i, j)) - f(moved(i)) - f(moved(j)) + f(x)) / h**2 for j in range(4)], 1
            )
            for i in range(4)
        ],
        axis=1,
    )
    turns = inseparability((gradient, second), (gradient, second))
    # Products are separable in every pair of their factors; the square is apart from each.
    assert turns[:3, :3].max() < 1e-3
    assert turns[0, 3].max() > 0.2 and turns[2, 3].max() > 0.2


def test_partitions_by_hand():
    turns = np.ones((5, 5, 5))
    for part in ((0, 3), (1, 2, 4)):
        for i in part:
            for j in part:
                turns[i, j] = 0
    assert best_partition(turns) == [(0, 3), (1, 2, 4)]
    assert best_partition(np.ones((4, 4, 4))) == [(0, 1, 2, 3)]
    # Turns are judged against the largest; where that is the error of a fit none are told.
    turns = np.full((4, 4, 4), 0.15)
    turns[[0, 1, 2, 3], [1, 0, 3, 2]] = 0.02
    assert best_partition(turns) == [(0, 1), (2, 3)]
    assert best_partition(turns / 3) == [(0, 1, 2, 3)]
    assert cut_at_the_widest_gap(np.full((4, 4), 0.5)) == [(0, 1, 2, 3)]
    assert components(np.zeros((2, 2), bool), (4, 7)) == ((4,), (7,))


def test_parts_of_a_dag_pass_by_nodes_that_leak():
    inputs = ("a", "b", "c", "d")
    tree = Dag(inputs, (("ab", ("a", "b")), ("cd", ("c", "d")), ("y", ("ab", "cd"))))
    assert parts_of_dag(tree) == (("a", "b"), ("c", "d"))
    # b is read past its node, so that this node holds nothing together.
    leak = Dag(inputs, (("ab", ("a", "b")), ("cd", ("c", "d")), ("y", ("ab", "cd", "b"))))
    assert parts_of_dag(leak) == (("a",), ("b",), ("c", "d"))
    # A node with everything is the root in another dress.
    dressed = Dag(inputs, (*tree.parents, ("z", ("y",))))
    assert parts_of_dag(dressed) == parts_of_dag(tree)


def test_distance_of_compositions_is_a_metric_of_clusters():
    names = ("a", "b", "c", "d")
    one = recovered_dag(names, ((0, 1), (2, 3)))
    two = recovered_dag(names, ((0, 2), (1, 3)))
    flat = recovered_dag(names, ((0,), (1,), (2,), (3,)))
    assert dag_distance(one, one) == 0 and dag_distance(one, two) == dag_distance(two, one)
    assert dag_distance(one, two) == pytest.approx(4 / 5)  # they share the set of all four
    assert dag_distance(one, flat) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="no input"):
        recovered_dag(names, ())


def test_agreement_counts_idle_inputs_as_alone():
    right = agreement([(1, 2), (3,)], [(1, 2), (3,)], dims=10)
    assert right.f1 == right.rand_index == 1
    assert agreement([], [(1, 2)], dims=4).f1 == 0
    assert agreement([(1, 2, 3, 4)], [(1, 2), (3, 4)], dims=4).rand_index == 0
