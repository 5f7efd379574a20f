"""What a network has to beat: a constant, a linear model, and gradient boosting (scikit-learn)."""

import dataclasses
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from sparsejax.pilot.folds import Fold, Part
from sparsejax.pilot.losses import loss_of, outputs_of

# Trees are added so many at a time, while this lowers the validation loss by such a share.
BLOCK, MOST_TREES, WORTH = 50, 1000, 0.01
# More levels than boosting takes as categories go by their code.
MOST_LEVELS = 255
# Leaves of a tree, and learning rate.
_TREES = ((4, 0.1), (31, 0.1), (31, 0.03))
_LINEAR = np.geomspace(1e-3, 1e3, 13)


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model: `outputs(part)` on a part of the fold; `predict(rows)` on so many rows."""

    outputs: Callable[[Any], np.ndarray]
    predict: Callable[[int], Any]
    model: Any = None


def constant_model(fold: Fold, task: str) -> Fitted:
    """The mean of the training rows, or the frequencies of their classes."""
    y = fold.train.y
    value = y.mean(axis=0)
    if task == "classification":
        frequency = (y > 0).mean(axis=0)[None]
        both = np.concatenate([1 - frequency, frequency], axis=1)
        value = outputs_of(both if y.shape[1] == 1 else frequency, y.shape[1])[0]
    return Fitted(lambda part: np.broadcast_to(value, part.y.shape), lambda rows: value)


def linear_model(fold: Fold, task: str) -> Fitted:
    """Ridge or logistic regression on all columns; validation chooses the penalty."""
    from sklearn.linear_model import LogisticRegression, Ridge

    def fitted(strength: float) -> Fitted:
        if task == "regression":
            model = Ridge(alpha=strength * len(fold.train.x)).fit(fold.train.x, fold.train.y)
            return Fitted(
                lambda part: model.predict(part.x).reshape(part.y.shape),
                lambda rows: model.predict(_as_many(fold.train.x, rows)),
                model,
            )
        model = LogisticRegression(C=1 / (strength * len(fold.train.x)), max_iter=300)
        model.fit(fold.train.x, fold.train.table.target)
        return Fitted(
            lambda part: outputs_of(
                _all_classes(model, part, model.predict_proba(part.x)), part.y.shape[1]
            ),
            lambda rows: model.predict_proba(_as_many(fold.train.x, rows)),
            model,
        )

    return _best((fitted(strength) for strength in _LINEAR), fold, task)


def boosting(fold: Fold, task: str, seed: int) -> Fitted:
    """Gradient-boosted trees on the columns as they are; validation chooses size and number."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    table, outputs = fold.train.table, fold.train.y.shape[1]
    categorical = [
        column.kind == "category" and len(column.levels) <= MOST_LEVELS for column in table.columns
    ]
    regression = task == "regression"
    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    goal = fold.train.y[:, 0] if regression else table.target

    # The default of 20 rows a leaf could not split a small table, or only once.
    fewest = int(np.clip(len(goal) // 10, 5, 20))

    def unfitted(leaves: int, rate: float, trees: int) -> Any:
        return kind(
            learning_rate=rate,
            max_iter=trees,
            max_leaf_nodes=leaves,
            min_samples_leaf=fewest,
            categorical_features=categorical,
            early_stopping=False,
            random_state=seed,
        )

    def as_outputs(model: Any, part: Part, predicted: np.ndarray) -> np.ndarray:
        if regression:
            return predicted[:, None]
        return outputs_of(_all_classes(model, part, predicted), outputs)

    held = fold.validation

    def losses(setting: tuple[int, float]) -> list[float]:
        """On validation rows, tree by tree."""
        model = unfitted(*setting, 0).set_params(warm_start=True)
        found: list[float] = []
        before = np.inf
        while not found or (len(found) < MOST_TREES and min(found) < (1 - WORTH) * before):
            before = min(found, default=np.inf)
            model.set_params(max_iter=len(found) + BLOCK).fit(table.values, goal)
            staged = model.staged_predict if regression else model.staged_predict_proba
            new = islice(staged(held.table.values), len(found), None)
            found += [loss_of(as_outputs(model, held, each), held.y, task) for each in new]
        return found

    tried = {setting: losses(setting) for setting in _TREES}
    setting = min(tried, key=lambda each: min(tried[each]))
    # With its best number of trees, to predict and to be timed.
    model = unfitted(*setting, 1 + int(np.argmin(tried[setting]))).fit(table.values, goal)
    predict = model.predict if regression else model.predict_proba
    return Fitted(
        lambda part: as_outputs(model, part, predict(part.table.values)),
        lambda rows: predict(_as_many(table.values, rows)),
        model,
    )


def _as_many(values: np.ndarray, rows: int) -> np.ndarray:
    """So many rows, some of them again where there are fewer: what is timed is a count of rows."""
    return values[np.arange(rows) % len(values)]


def _best(tries: Iterator[Fitted], fold: Fold, task: str) -> Fitted:
    part = fold.validation
    return min(tries, key=lambda fitted: loss_of(fitted.outputs(part), part.y, task))


def _all_classes(model: Any, part: Any, probabilities: np.ndarray) -> np.ndarray:
    """A column a class of the table: training rows may have none of a rare one."""
    result = np.zeros((len(probabilities), max(2, len(part.table.classes))))
    result[:, np.asarray(model.classes_, int)] = probabilities
    return result
