"""The loss that every candidate is judged by, on the host; test rows are seen nowhere else."""

import numpy as np
import scipy.special
from jaxtyping import Float

# A probability is never taken for certain: one error would then cost without end.
LEAST_PROBABILITY = 1e-4


def loss_of(outputs: Float[np.ndarray, "n c"], y: Float[np.ndarray, "n c"], task: str) -> float:
    """Squared distance to standardised targets, or logistic losses of labels -1 and +1.

    Summed over outputs, as `dynamics.squared_loss` and `logistic_loss` have it. No probability is
    taken for more certain than 0.9999: whoever is surer gains nothing, and pays no more where it
    errs. Infinite where an output is no number.

    Example:
        >>> loss_of(np.array([[0.0], [2.0]]), np.array([[1.0], [2.0]]), "regression")
        0.5
    """
    if task == "regression":
        each = (outputs - y) ** 2
    else:
        surest = scipy.special.logit(1 - LEAST_PROBABILITY)
        each = np.logaddexp(0, -y * np.clip(outputs, -surest, surest))
    mean = float(each.sum(axis=1).mean())
    return mean if np.isfinite(mean) else float("inf")


def score_of(outputs: Float[np.ndarray, "n c"], y: Float[np.ndarray, "n c"], task: str) -> float:
    """The share of the variance of these rows that is explained, or of rows classified rightly.

    NaN where these rows do not vary.
    """
    if task == "regression":
        if np.ptp(y) == 0:
            return float("nan")
        return 1 - float(((outputs - y) ** 2).mean() / np.var(y))
    if y.shape[1] == 1:
        return float(((outputs > 0) == (y > 0)).mean())
    return float((outputs.argmax(axis=1) == y.argmax(axis=1)).mean())


def outputs_of(probabilities: Float[np.ndarray, "n k"], outputs: int) -> Float[np.ndarray, "n c"]:
    """Log odds of each class against all others, of the second of two; as networks give them."""
    kept = probabilities[:, 1:] if outputs == 1 else probabilities
    return scipy.special.logit(np.clip(kept, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))
