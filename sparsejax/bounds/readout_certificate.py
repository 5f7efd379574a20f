"""One look at the initialisation that promises loss decay for all times, through the readouts."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from sparsejax.bounds.bound import Bound, Hypothesis, finite_rows, flow_from_zero, loss_agrees
from sparsejax.bounds.feature_drift import FeatureDrift, edge_matrix, readout_edges, spectral_norm
from sparsejax.bounds.tangent import SOURCE, squared_curve
from sparsejax.dynamics import SquaredLoss, Trajectory, squared_loss
from sparsejax.lifts import Lift
from sparsejax.tangent import tangent_constant_path

MARGINS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.95)


@dataclasses.dataclass(frozen=True)
class HorizonGap:
    """How much of what the readouts really do a certificate sees.

    `certified`: the flow time up to which they are proved to attain eps. `measured`: the last saved
    time up to which they did; a lower bound on it where `open_ended`, as they did to the end.
    `certified_distance` and `measured_distance`: how far the other weights could move, and had.
    """

    certified: float
    measured: float
    open_ended: bool
    certified_distance: float
    measured_distance: float


@dataclasses.dataclass(frozen=True)
class ReadoutCertificate:
    """The promise of `readout_certificate`.

    `kappa`: the tangent constant at the start, through the readouts alone, is at most this.
    `reach`: within this distance `s` of the start it is at most `kappa + s`. `horizon`: the flow
    time within which the flow cannot have left. `limit`: the loss falls at least to this, at some
    time. `readouts`: the weights that attain eps throughout the ball, `margin` their misfit at the
    start over `sqrt(eps)`. Infinite `kappa` and zero `reach`: nothing is promised.
    """

    initial: float
    eps: float
    kappa: float
    reach: float
    horizon: float
    limit: float
    margin: float
    readouts: dict[str, Array]
    lift: Lift
    params: PyTree[Array]
    loss: SquaredLoss
    details: dict[str, Any]

    @property
    def vacuous(self) -> bool:
        """Whether the loss is promised to fall at all, or to stay below eps."""
        return self.initial > self.eps and not self.reach > 0

    def values(self, ts: Float[np.ndarray, " s"]) -> Float[np.ndarray, " s"]:
        """The promised loss at flow times `ts`, `L_0` throughout where nothing is promised."""
        if self.initial <= self.eps or self.vacuous:
            return np.full(len(ts), self.initial)
        gap, root, aim = self.initial - self.eps, math.sqrt(self.initial), math.sqrt(self.eps)
        inside = np.minimum(ts, self.horizon)
        # int_0^t (kappa + sqrt(gap s))^{-2} ds: the ball grows with time.
        z = np.sqrt(inside * gap) / self.kappa
        near = z**2 * (1 / 2 - z * (2 / 3 - z * (3 / 4 - z * 4 / 5)))
        s = 2 / gap * np.where(z < 1e-3, near, np.log1p(z) - z / (1 + z))
        first = squared_curve(self.initial, self.eps, s)
        # Beyond the horizon the flow may have left, but then it has come down to the limit.
        further = s + (ts - inside) / (self.kappa + self.reach) ** 2
        left = (aim + (root - aim) * self.kappa / (self.kappa + self.reach)) ** 2
        later = np.maximum(squared_curve(self.initial, self.eps, further), left)
        return np.where(ts <= self.horizon, first, np.minimum(first, later))

    def bound(self, flow: Trajectory) -> Bound:
        """The promise at the saved times of a flow, for `compare`."""
        ts = np.asarray(flow.ts, float)
        same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), flow.at(0), dict(self.params))
        attained = self.kappa < math.inf or self.initial <= self.eps
        last = finite_rows(np.asarray(flow.losses, float))
        return Bound(
            name="readout certificate",
            source=SOURCE,
            ts=ts,
            values=self.values(ts),
            quantity="losses",
            kind="upper",
            quadrature_error=np.zeros_like(ts),
            initial=self.initial,
            hypotheses=(
                flow_from_zero(flow),
                Hypothesis("the flow starts at the certified parameters", all(same.values())),
                loss_agrees("the flow is of the mean squared loss", self.loss, flow, last),
                Hypothesis("the readouts alone attain eps with room to spare", attained),
            ),
            details=self.details | {"horizon": self.horizon, "reach": self.reach},
        )

    def gap(self, flow: Trajectory, x: PyTree, targets: Array | np.ndarray) -> HorizonGap:
        """The certified horizon against the one that the same readouts reach along a flow.

        Raises:
            ValueError: the certificate is vacuous, so that it names no readouts.
        """
        if self.vacuous:
            raise ValueError("the certificate is vacuous: there are no readouts to follow")
        loss = squared_loss(self.lift.apply, x, targets)
        misfits, moved = _misfits_and_moves(loss, self.readouts, self.params, flow.params)
        distances = np.linalg.norm(np.asarray(moved, float), axis=1)
        good = np.asarray(misfits, float) <= self.eps
        last = len(good) - 1 if good.all() else max(int(np.argmin(good)) - 1, 0)
        return HorizonGap(
            certified=self.horizon,
            measured=float(np.asarray(flow.ts)[last]),
            open_ended=bool(good.all()),
            certified_distance=self.reach,
            measured_distance=float(distances[last]),
        )


def readout_certificate(
    lift: Lift,
    params: PyTree[Array],
    x: PyTree,
    targets: Array | np.ndarray,
    eps: float | int | Array,
    *,
    margins: Sequence[float] = MARGINS,
) -> ReadoutCertificate:
    """A bound on the loss of the gradient flow from `params`, at all times, from `params` alone.

    Let `A*` be weights of the readouts (edges into the output) that have misfit `g < sqrt(eps)`
    at the start. At a state with readouts `A` and features `h`, the step `u` that replaces `A` by
    `A*` has `r + J u = A* h - y`, of norm at most `g + sum_e ||A*_e|| D_e(s)` within distance `s`
    of the start (`FeatureDrift`), and `||u|| <= ||A* - A_0|| + s`. So `kappa_eps <= kappa + s` with
    `kappa = ||A* - A_0||` up to the largest `s` at which the misfit is `sqrt(eps)`: the reach `S`.
    With `rho = sqrt(L)`, `q = sqrt(eps)`, and `s` the length of the path:

    - `||grad L|| >= 2 rho (rho - q) / (kappa + s)` gives `rho - q <= (rho_0 - q) kappa / (kappa +
      s)` along the path: where it leaves the ball, the loss is down to `limit`.
    - `s <= sqrt(t (L_0 - eps))` while the loss is above eps (2.4), so the path is inside up to the
      horizon `S^2 / (L_0 - eps)`, and bound 2.2 holds with the integral of `(kappa + s)^{-2}`.

    Readouts are sought from `A_0` and from zero, with misfits `margins * sqrt(eps)`; those with the
    least limit are kept. Where no readouts attain eps, the certificate is vacuous.

    Hypotheses: gradient flow of the mean squared loss of these samples, from these parameters; one
    output with the identity as activation; those of `FeatureDrift`.

    Raises:
        ValueError: an edge, activation or output that is not covered, a negative eps, a margin
            outside of (0, 1), parameters whose loss is not finite.

    Source: bounds 2.2, 2.4 and 2.5 of this project; for wide lifts, Robin, Scaman, Lelarge 2024.

    Example:
        >>> import jax, jax.numpy as jnp, sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=2, hidden=1, outputs=1), sizes=64)
        >>> params = lift.init(jax.random.key(0), zero_outputs=True)
        >>> found = readout_certificate(lift, params, jnp.eye(2), jnp.ones((2, 1)), eps=0.3)
        >>> found.vacuous, bool(found.values(np.array([0.0, found.horizon]))[1] < found.initial)
        (False, True)
    """
    eps = float(eps)
    if not eps >= 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    if not all(0 < margin < 1 for margin in margins) or not margins:
        raise ValueError(f"margins must lie between 0 and 1, got {margins}")
    if len(lift.module.outputs) != 1:
        raise ValueError(f"one output is covered, not {', '.join(lift.module.outputs)}")
    drift = FeatureDrift(lift, params, x)
    q, start = math.sqrt(eps), {e.name: params[e.name] for e in readout_edges(lift)}
    zero = jax.tree.map(lambda leaf: leaf * 0, start)
    loss = squared_loss(lift.apply, x, targets)
    initial = float(loss(params))
    if not math.isfinite(initial):
        raise ValueError(f"the loss at params is {initial}: no flow starts there")
    outputs = _Readouts(lift, params)
    best = _Candidate(math.inf, 0.0, math.nan, start)
    centres = [start] if initial <= eps or eps == 0 else [start, zero]
    for centre in centres:
        path = tangent_constant_path(
            outputs, centre, x, targets, [(m * q) ** 2 for m in margins], rtol=0.01
        )
        for found in path:
            if math.isfinite(found.upper):
                weights = jax.tree.map(lambda a, b: a + b, centre, found.direction)
                candidate = _candidate(drift, start, weights, q, math.sqrt(found.attained))
                best = max(best, candidate, key=lambda c: c.reach / max(c.kappa, 1e-300))
    share = best.kappa / (best.kappa + best.reach) if best.reach > 0 else 1.0
    root = math.sqrt(initial)
    inside = initial <= eps
    return ReadoutCertificate(
        initial=initial,
        eps=eps,
        kappa=best.kappa,
        reach=best.reach,
        horizon=math.inf if inside else best.reach**2 / (initial - eps),
        limit=initial if inside or share == 1 else (q + (root - q) * share) ** 2,
        margin=best.misfit / q if q > 0 else math.nan,
        readouts=best.weights,
        lift=lift,
        params=params,
        loss=loss,
        details={
            "weight_norms": drift.norms,
            "value_norms": drift.sizes,
            "drift_at_reach": drift.at(best.reach),
        },
    )


class _Readouts(eqx.Module):
    """The lift as a function of its readouts; other parameters compile no other program."""

    lift: Lift
    params: dict[str, Array]

    def __call__(self, weights: dict[str, Array], x: PyTree) -> Array | dict[str, Array]:
        return self.lift.apply({**self.params, **weights}, x)


@eqx.filter_jit
def _misfits_and_moves(loss, readouts, start, states):
    """At every state: the loss with the readouts in place, and how far all other weights are."""

    def look(at):
        moved = {n: at[n] - start[n] for n in at if n not in readouts}
        return loss({**at, **readouts}), ravel_pytree(moved)[0]

    return jax.lax.map(look, states)


@dataclasses.dataclass(frozen=True)
class _Candidate:
    kappa: float
    reach: float
    misfit: float
    weights: dict[str, Array]


def _candidate(drift: FeatureDrift, start, weights, q: float, misfit: float) -> _Candidate:
    norms = {
        edge.name: (edge.source, spectral_norm(edge_matrix(drift.lift, edge, weights[edge.name])))
        for edge in drift.readouts
    }

    def fits(distance: float) -> bool:
        drifts = drift.at(distance)
        moved = sum(norm * drifts.get(source, 0.0) for source, norm in norms.values())
        return misfit + moved <= q

    # To one in a million from below: a reach that is too small is still a proof.
    low, high = 0.0, 1.0
    while fits(high) and high < 1e12:
        low, high = high, 2 * high
    while high - low > 1e-6 * high and high > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    moved = jax.tree.map(lambda a, b: a - b, weights, start)
    kappa = float(np.linalg.norm(np.asarray(ravel_pytree(moved)[0], float)))
    return _Candidate(kappa, low, misfit, weights)
