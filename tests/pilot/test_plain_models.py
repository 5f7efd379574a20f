"""The rivals that are no networks, and the loss that all are judged by."""

import numpy as np
import pytest
import scipy.special

from sparsejax.pilot.folds import folds
from sparsejax.pilot.losses import loss_of, outputs_of, score_of
from sparsejax.pilot.plain_models import boosting, constant_model, linear_model
from sparsejax.targets import real_table
from sparsejax.targets.table import Column, Table


@pytest.fixture(scope="module")
def iris():
    return folds(real_table("iris"), 2, seed=0)[0]


def test_outputs_are_log_odds_and_their_loss_is_the_log_likelihood():
    p = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    y = np.array([[-1.0, 1.0, -1.0], [1.0, -1.0, -1.0]])
    by_hand = -np.log([0.8 * 0.5 * 0.7, 0.6 * 0.7 * 0.9]).mean()
    assert loss_of(outputs_of(p, 3), y, "classification") == pytest.approx(by_hand)
    two = outputs_of(np.array([[0.2, 0.8]]), 1)
    assert two[0, 0] == pytest.approx(scipy.special.logit(0.8))
    # A wrong certainty costs no more than one of 0.9999, whoever says it.
    wrong = loss_of(np.array([[1e9]]), np.array([[-1.0]]), "classification")
    assert wrong == pytest.approx(-np.log(1e-4), rel=1e-4)


def test_the_constant_is_the_best_constant_of_the_training_rows(iris):
    model = constant_model(iris, "classification")
    outputs, y = model.outputs(iris.train), iris.train.y
    best = loss_of(outputs, y, "classification")
    for shift in np.vstack([np.eye(3), -np.eye(3)]) * 0.05:
        assert loss_of(outputs + shift, y, "classification") > best


def test_models_learn_what_there_is(iris):
    for model in (linear_model(iris, "classification"), boosting(iris, "classification", 0)):
        outputs = model.outputs(iris.test)
        assert outputs.shape == iris.test.y.shape
        assert score_of(outputs, iris.test.y, "classification") > 0.8


@pytest.mark.slow
def test_boosting_takes_gaps_and_categories_and_stops_by_validation():
    fold = folds(real_table("cars"), 2, seed=0)[0]
    model = boosting(fold, "regression", 0)
    held = loss_of(model.outputs(fold.validation), fold.validation.y, "regression")
    assert score_of(model.outputs(fold.test), fold.test.y, "regression") > 0.6
    trees = model.model.get_params()["max_iter"]
    fewer = model.model.__class__(**model.model.get_params() | {"max_iter": max(1, trees // 2)})
    fewer.fit(fold.train.table.values, fold.train.y[:, 0])
    less = fewer.predict(fold.validation.table.values)[:, None]
    assert held <= loss_of(less, fold.validation.y, "regression")


def test_boosting_splits_a_small_table_and_is_timed_on_as_many_rows_as_are_said():
    # 24 rows to train on, fewer than two leaves of the default size: no split at all.
    x = np.random.default_rng(0).normal(size=(40, 2))
    table = Table((Column("a"), Column("b")), x, np.sign(x[:, 0]))
    fold = folds(table, 2, seed=0)[0]
    model = boosting(fold, "regression", 0)
    assert score_of(model.outputs(fold.test), fold.test.y, "regression") > 0.5
    for each in (model, linear_model(fold, "regression")):
        assert len(each.predict(256)) == 256 and len(each.predict(1)) == 1


def test_a_score_without_variance_is_no_number():
    assert np.isnan(score_of(np.array([[1.0], [2.0]]), np.ones((2, 1)), "regression"))
