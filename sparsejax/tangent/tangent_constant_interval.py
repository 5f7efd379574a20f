"""The tangent constant from products alone, as an interval with both ends proved."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from sparsejax.tangent.bidiagonalisation import Bidiagonalisation
from sparsejax.tangent.jacobian import Function
from sparsejax.tangent.linearisation import Linearisation
from sparsejax.tangent.small_secular import SmallProblem, SmallStep
from sparsejax.tangent.tangent_constant import checked_eps

CONVERGED, NOT_CONVERGED = "converged", "not_converged"
INFINITE_SUSPECTED, NOT_A_NUMBER = "infinite_suspected", "nan"
# Roundings of one product, relative to ||J|| ||u||, that the interval leaves room for at least.
ROUNDINGS = 16


@dataclasses.dataclass(frozen=True)
class TangentConstantInterval:
    """`lower <= kappa_eps <= upper`, with what proves it.

    `direction`, in the shape of the parameters, has norm `upper` and `||r + J u||^2 = attained <=
    eps` (zero where `upper` is infinite). `dual`, in the shape of the outputs, is the `y` of which
    `lower` is the value. `status`: `"converged"` (to the tolerance asked for), `"not_converged"`,
    `"infinite_suspected"` or `"nan"`. `products`: with `J` and `J^T` together, all levels of a path
    together. `room`: what was left for rounding, relative to `||J|| ||u||`. `weight`: about the
    `nu` at which the minimiser of `||u||^2 + nu ||r + J u||^2` is the one sought.
    """

    lower: float
    upper: float
    status: str
    eps: float
    attained: float
    direction: PyTree[Array]
    dual: Array
    products: int
    room: float
    weight: float

    @property
    def gap(self) -> float:
        """`upper / lower - 1`, the relative width."""
        if self.upper == self.lower:
            return 0.0
        return self.upper / self.lower - 1 if self.lower > 0 else np.inf


def tangent_constant_interval(
    f: Function,
    params: PyTree,
    x: PyTree,
    targets: Array | np.ndarray,
    eps: float | int | Array,
    *,
    rtol: float = 1e-3,
    max_products: int = 1000,
    starts: Sequence[Array] = (),
) -> TangentConstantInterval:
    """An interval that holds `kappa_eps`, from products with the Jacobian and its transpose alone.

    For any `y`, a step `u` with `||r + J u|| <= sqrt(eps)` has `<u, J^T y> = <r + J u, y> - <r, y>
    >= -sqrt(eps) ||y|| - <r, y>`, so `kappa_eps >= (-<r, y> - sqrt(eps) ||y||) / ||J^T y||`: the
    lower end, for a `y` from a Krylov space. The upper end is the norm of a step of which
    `||r + J u||` was evaluated. Both are evaluated on the network itself, so that they hold however
    well the iteration went, with room left for rounding: 16 roundings, or twice what products with
    `J` and with `J^T` were seen to disagree by (on a GPU, float32 products are rough unless `f`
    asks for the highest precision).

    Grows a bidiagonalisation until `upper <= (1 + rtol) lower`, or `max_products` are spent (four
    at least).
    `"infinite_suspected"`: the lower end proves that singular values above `s ||J||` do not suffice
    to attain `eps`, with `s` half the digits of the network's arithmetic (6e-8 in float64, 1e-3 in
    float32). At `eps = 0` there is a lower end only. `starts`: vectors of
    the output space to begin with, such as the `dual` of a state nearby. Memory:
    `max_products / 2` vectors of parameters and of outputs at most. Runs on the host: not inside
    `jit`.

    Raises:
        ValueError: `eps` is negative, `rtol` or `max_products` not positive, shapes disagree.

    Source: Golub, von Matt 1991 (bounds on both sides from one bidiagonalisation), weak duality.

    Example:
        >>> import jax.numpy as jnp
        >>> f, x, y = (lambda w, x: x @ w), jnp.array([[2.0]]), jnp.array([[4.0]])
        >>> found = tangent_constant_interval(f, jnp.zeros((1, 1)), x, y, eps=1.0)
        >>> round(found.lower, 4), round(found.upper, 4), found.status
        (1.5, 1.5, 'converged')
    """
    (found,) = tangent_constant_path(
        f, params, x, targets, [eps], rtol=rtol, max_products=max_products, starts=starts
    )
    return found


def tangent_constant_path(
    f: Function,
    params: PyTree,
    x: PyTree,
    targets: Array | np.ndarray,
    eps: Sequence[float | int | Array] | ArrayLike,
    *,
    rtol: float = 1e-3,
    max_products: int = 1000,
    starts: Sequence[Array] = (),
) -> list[TangentConstantInterval]:
    """`tangent_constant_interval` at several levels, from one bidiagonalisation.

    Only the proofs cost more per level: two products each.

    Raises:
        ValueError: as `tangent_constant_interval`.

    Example:
        >>> import jax.numpy as jnp
        >>> f, x, y = (lambda w, x: x @ w), jnp.array([[2.0]]), jnp.array([[4.0]])
        >>> path = tangent_constant_path(f, jnp.zeros((1, 1)), x, y, eps=[9.0, 1.0])
        >>> [round(found.upper, 4) for found in path]
        [0.5, 1.5]
    """
    levels = [float(level) for level in np.ravel(np.asarray(eps, float))]
    for level in levels:
        checked_eps(level)
    if not rtol > 0 or max_products < 1:
        raise ValueError(
            f"rtol and max_products must be positive, got rtol={rtol}, max_products={max_products}"
        )
    linearised = Linearisation(f, params, x, targets)
    starts = [jnp.reshape(start, -1).astype(linearised.residual.dtype) for start in starts]
    for start in starts:
        if start.size != linearised.residual.size:
            raise ValueError(
                f"a start needs {linearised.residual.size} entries, one an output; got {start.size}"
            )
    r = np.asarray(linearised.residual, np.float64)
    if not np.isfinite(r).all():
        return [_ended(linearised, _Ends(level), NOT_A_NUMBER) for level in levels]
    loss = float(r @ r)
    ends = [_Ends(level) for level in levels]
    for end in ends:
        if loss <= end.eps:
            end.upper, end.attained, end.status = 0.0, loss, CONVERGED
    if any(not end.status for end in ends):
        _narrow(linearised, r, ends, rtol, max_products, starts)
    return [_ended(linearised, end, end.status) for end in ends]


class _Ends:
    """Both ends as they stand."""

    def __init__(self, eps: float):
        self.eps, self.q = eps, float(np.sqrt(eps))
        self.lower, self.upper, self.attained = 0.0, np.inf, np.nan
        self.direction: Array | None = None
        self.dual: Array | None = None
        self.status, self.room, self.weight = "", 0.0, 0.0


def _narrow(linearised, r, ends: list[_Ends], rtol, max_products, starts) -> None:
    krylov = Bidiagonalisation(linearised, starts)
    # Singular values below this fraction of the largest are out of sight: half of the digits.
    cutoff = np.sqrt(ROUNDINGS * krylov.rounding)
    blur, steps, check = np.sqrt(krylov.rounding), 0, 1
    while open_ends := [end for end in ends if not end.status]:
        moved, steps = krylov.step(), steps + 1
        # Two products a level have to be left for the proofs.
        last = not moved or linearised.products + 2 + 2 * len(open_ends) > max_products
        if not np.isfinite(krylov.norm):
            for end in open_ends:
                end.lower = end.upper = np.nan
                end.status = NOT_A_NUMBER
            return
        if steps < check and not last:
            continue
        check = steps + max(1, steps // 8)
        above = SmallProblem(krylov.upper, krylov.length)
        below = SmallProblem(krylov.lower, krylov.length)
        norm = max(above.norm, below.norm, krylov.norm)
        room = max(ROUNDINGS * krylov.rounding, 2 * krylov.defect / norm if norm > 0 else 0.0)
        beyond = np.linalg.norm(r) / (cutoff * norm) if norm > 0 else np.inf
        for end in open_ends:
            proof = _Proof(linearised, krylov, r, norm, room, end)
            # A dual vector depends smoothly on eps; at eps = 0 itself it would be all rounding.
            shortest = below.shortest(max(end.q, blur * krylov.length))
            step = above.shortest(proof.aim(shortest.norm))
            promising = step.norm <= (1 + 0.8 * rtol) * shortest.norm or shortest.norm > beyond
            if promising or last:
                proof.raise_lower(shortest)
                if np.isfinite(step.norm):
                    proof.bring_down_upper(step)
                if end.upper <= (1 + rtol) * end.lower:
                    end.status = CONVERGED
                elif end.lower > beyond:
                    end.status = INFINITE_SUSPECTED
            if last and not end.status:
                end.status = NOT_CONVERGED


class _Proof:
    """Evaluates both ends on the network itself; sums run in float64 whatever the network's."""

    def __init__(self, linearised, krylov, r, norm: float, room: float, end: _Ends):
        self.linearised, self.krylov, self.r, self.norm, self.end = linearised, krylov, r, norm, end
        self.room = room

    def error(self, step_norm: float) -> float:
        """Room for the rounding of `||r + J u||`."""
        return self.room * (float(np.linalg.norm(self.r)) + self.norm * step_norm)

    def aim(self, step_norm: float) -> float:
        """The misfit to aim at, so that `sqrt(eps)` is kept with rounding."""
        if not np.isfinite(step_norm):
            return self.end.q
        return max(self.end.q - 2 * self.error(step_norm), 0.0)

    def raise_lower(self, found: SmallStep) -> None:
        # At the minimiser y is along -(r + J u); any other y gives a bound too, a lower one.
        dual = self.krylov.left.combine(-found.misfit)
        self.end.weight = found.weight
        y = np.asarray(dual, np.float64)
        pulled = np.asarray(self.linearised.pull(dual), np.float64)
        size = float(np.linalg.norm(y))
        gained = float(-self.r @ y) - self.end.q * size
        gained -= self.room * float(np.linalg.norm(self.r)) * size
        if gained <= 0:
            return
        length = float(np.linalg.norm(pulled)) + self.room * self.norm * size
        value = gained / length if length > 0 else np.inf
        if value > self.end.lower:
            self.end.lower, self.end.dual, self.end.room = float(value), dual, self.room

    def bring_down_upper(self, found: SmallStep) -> None:
        direction = self.krylov.right.combine(found.z)
        pushed = np.asarray(self.linearised.push(direction), np.float64)
        norm = float(np.linalg.norm(np.asarray(direction, np.float64)))
        # The least multiple whose misfit is what was aimed at: both numbers are known by now.
        aim = self.end.q - 1.5 * self.error(norm)
        squared, slope = float(pushed @ pushed), float(self.r @ pushed)
        inside = slope**2 - squared * (float(self.r @ self.r) - aim * abs(aim))
        factor = (-slope - np.sqrt(inside)) / squared if squared > 0 and inside > 0 else 1.0
        misfit = float(np.linalg.norm(self.r + factor * pushed))
        if factor <= 0 or misfit + self.error(factor * norm) > self.end.q:
            return
        if factor * norm < self.end.upper:
            self.end.upper, self.end.attained = float(factor * norm), misfit**2
            self.end.direction = direction * jnp.asarray(factor, direction.dtype)
            self.end.room = self.room


def _ended(linearised: Linearisation, end: _Ends, status: str) -> TangentConstantInterval:
    direction, dual = end.direction, end.dual
    if direction is None:
        direction = jnp.zeros(linearised.size, linearised.dtype)
    if dual is None:
        dual = jnp.zeros_like(linearised.residual)
    nan = status == NOT_A_NUMBER
    return TangentConstantInterval(
        lower=np.nan if nan else end.lower,
        upper=np.nan if nan else end.upper,
        status=status,
        eps=end.eps,
        attained=end.attained,
        direction=linearised.unravel(direction),
        dual=dual.reshape(linearised.output_shape),
        products=linearised.products,
        room=end.room,
        weight=end.weight,
    )
