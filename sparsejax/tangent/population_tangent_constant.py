"""The tangent constant in `L^2` of a distribution: a confidence interval from fresh samples."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from sparsejax.tangent.bidiagonalisation import Bidiagonalisation
from sparsejax.tangent.jacobian import Function
from sparsejax.tangent.linearisation import Linearisation
from sparsejax.tangent.small_secular import SmallProblem
from sparsejax.tangent.tangent_constant import checked_eps
from sparsejax.tangent.tangent_constant_interval import tangent_constant_path

Sampler = Callable[[Key[Array, ""], int], tuple[PyTree[Array], Array]]


@dataclasses.dataclass(frozen=True)
class PopulationTangentConstant:
    """`lower <= kappa_eps <= upper` at the stated `level` of confidence.

    `direction`: the step of norm `upper`, zero where that is infinite. `status`: `"bounded"`,
    `"unbounded"` (no step tried attains eps on fresh samples) or `"nan"`. `dual_values` (B,): the
    bound on `kappa^2` that each fresh batch gives, their mean being below `kappa^2`; `misfits`
    (candidates, B): `||r + J u||^2` of each step tried, on each batch. `weight`: of the constraint.
    """

    lower: float
    upper: float
    level: float
    status: str
    direction: PyTree[Array]
    weight: float
    dual_values: Float[np.ndarray, " b"]
    misfits: Float[np.ndarray, "candidates b"]


def population_tangent_constant(
    f: Function,
    params: PyTree,
    sample: Sampler,
    eps: float | int | Array,
    key: Key[Array, ""],
    *,
    batches: int = 16,
    batch_size: int = 256,
    pilot_size: int | None = None,
    level: float = 0.95,
    margins: Sequence[float] = (0.95, 0.8, 0.6, 0.4),
    max_products: int = 1000,
) -> PopulationTangentConstant:
    """A confidence interval for `min { ||u|| : E ||f + J u - target||^2 <= eps }`.

    `sample(key, n)` draws `n` samples `(x, targets)`. On one batch alone the constant would be
    biased: a step fits the batch it was made on. So a pilot batch (by default as large as all
    others together) gives steps with misfits `margins * eps`, and a weight `nu` of the constraint;
    all that is proved comes from `batches` fresh ones of `batch_size`:

    - a step whose misfit has an upper confidence limit of at most eps is one for the population;
      of several tried the limits share the error;
    - for any `nu`, the mean of `min_u ||u||^2 + nu (||r + J u||^2 - eps)` over batches is at most
      `kappa_eps^2`: the minimum of a mean is above the mean of minima. A dual vector bounds each
      from below.

    Limits are Student's on batch means, so they are exact as batches grow only; half of the error
    `1 - level` goes to either end.

    Raises:
        ValueError: `eps` negative, fewer than 2 batches, sizes, margins or level out of range.

    Source: Mak, Morton, Wood 1999 (bounds from batches on both sides of a stochastic program).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> def sample(key, n):
        ...     x = jax.random.normal(key, (n, 1))
        ...     return x, 4 * x
        >>> f, w = (lambda w, x: x @ w), jnp.zeros((1, 1))  # kappa = 4 - sqrt(eps)
        >>> found = population_tangent_constant(f, w, sample, eps=1.0, key=jax.random.key(0))
        >>> found.status, found.lower < 3.0 < found.upper, found.upper / found.lower < 1.1
        ('bounded', True, True)
    """
    eps = float(checked_eps(eps))
    if batches < 2 or batch_size < 1 or (pilot_size is not None and pilot_size < 1):
        raise ValueError(
            "at least 2 batches and 1 sample in each are needed; got "
            f"batches={batches}, batch_size={batch_size}, pilot_size={pilot_size}"
        )
    if not 0 < level < 1 or not margins or not all(0 < margin < 1 for margin in margins):
        raise ValueError(f"level and margins must lie in (0, 1), got {level} and {margins}")
    pilot_key, *keys = jax.random.split(key, batches + 1)
    x, targets = sample(pilot_key, batches * batch_size if pilot_size is None else pilot_size)
    path = tangent_constant_path(
        f, params, x, targets, [eps, *(eps * m for m in margins)], max_products=max_products
    )
    zero = jax.tree.map(jnp.zeros_like, params)
    steps = [(0.0, zero)]
    steps += [(found.upper, found.direction) for found in path[1:] if 0 < found.upper < math.inf]
    weight = path[0].weight
    if not math.isfinite(weight):  # out of reach on the pilot: any weight gives a bound
        weight = path[0].lower ** 2 / eps if eps > 0 else 1.0
    misfits, duals = np.empty((len(steps), batches)), np.empty(batches)
    for number, batch_key in enumerate(keys):
        x, targets = sample(batch_key, batch_size)
        fresh = Linearisation(f, params, x, targets)
        r = np.asarray(fresh.residual, np.float64)
        for row, (_, step) in enumerate(steps):
            flat = ravel_pytree(step)[0]
            misfits[row, number] = np.sum((r + np.asarray(fresh.push(flat), np.float64)) ** 2)
        duals[number] = _dual_value(fresh, r, weight, eps, max_products)
    error = (1 - level) / 2

    def limit(values, share):  # half the width of a one-sided interval for the mean
        spread = np.std(values, axis=-1, ddof=1) / math.sqrt(batches)
        return scipy.stats.t.ppf(1 - share, batches - 1) * spread

    high = misfits.mean(axis=1) + limit(misfits, error / len(steps))
    fine = [step for step, misfit in zip(steps, high, strict=True) if misfit <= eps]
    upper, direction = min(fine, key=lambda step: step[0], default=(math.inf, zero))
    low = float(duals.mean() - limit(duals, error))
    nan = not (np.isfinite(duals).all() and np.isfinite(misfits).all())
    return PopulationTangentConstant(
        lower=math.nan if nan else math.sqrt(max(low, 0.0)),
        upper=math.nan if nan else float(upper),
        level=level,
        status="nan" if nan else "bounded" if upper < math.inf else "unbounded",
        direction=direction,
        weight=weight,
        dual_values=duals,
        misfits=misfits,
    )


def _dual_value(
    fresh: Linearisation, r: np.ndarray, weight: float, eps: float, max_products: int
) -> float:
    """A lower bound on `min_u ||u||^2 + weight (||r + J u||^2 - eps)` on one batch.

    It is `max_y -||J^T y||^2 - 2 <r, y> - ||y||^2 / weight - weight eps`, evaluated at the `y` of
    a Krylov space that is within 1e-3 of the best.
    """
    if not weight > 0 or not np.isfinite(r).all():
        return 0.0 if np.isfinite(r).all() else math.nan
    krylov, steps, check = Bidiagonalisation(fresh), 0, 1
    while True:
        moved, steps = krylov.step(), steps + 1
        last = not moved or fresh.products + 3 > max_products
        if not np.isfinite(krylov.norm):
            return math.nan
        if steps < check and not last:
            continue
        check = steps + max(1, steps // 8)
        below, above = (
            SmallProblem(matrix, krylov.length).regularised(weight)
            for matrix in (krylov.lower, krylov.upper)
        )
        low, high = (s.norm**2 + weight * float(s.misfit @ s.misfit) for s in (below, above))
        if last or high - low <= 1e-3 * high:
            break
    y = -weight * np.asarray(krylov.left.combine(below.misfit), np.float64)
    pulled = np.asarray(fresh.pull(jnp.asarray(y, fresh.residual.dtype)), np.float64)
    return float(-pulled @ pulled - 2 * r @ y - y @ y / weight - weight * eps)
