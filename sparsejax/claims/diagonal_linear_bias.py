"""Implicit bias of diagonal linear networks: which interpolant the flow finds, by its start."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from sparsejax.bounds import PARTS, Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import BLUE, GREEN, GREY, RED, panels, paper_style
from sparsejax.dynamics import gradient_flow

REFINEMENT = 10.0


@dataclasses.dataclass(frozen=True)
class DiagonalLinearBiasConfig:
    """Flow of `f(x) = <u*u - v*v, x>` from `u = v = alpha`, fewer samples than dimensions."""

    samples: int = 8
    """Number of samples; fewer than dims, so that there are many interpolants."""
    dims: int = 16
    """Input dimension."""
    sparsity: int = 2
    """Non-zero entries of the vector that labels the samples."""
    alphas: tuple[float, ...] = (0.003, 0.03, 0.3, 3.0)
    """Scales of the start, one trial each."""
    spread: float = 0.0
    """Standard deviation of the logarithm of the start over coordinates; theory needs 0."""
    horizon: float = 2000.0
    """Flow time, in units of one over the curvature scale `max(alpha^2, 1)`."""
    rtol: float = 1e-7
    """Tolerance of the flow; a second flow at a tenth of it measures the integrator's error."""
    tolerance: float = 0.01
    """Largest distance from the predicted interpolant, as a share of its norm, that counts as
    none."""
    seed: int = 0
    """Seed of the data."""


class DiagonalLinearBias:
    """Where the flow ends, against the minimiser of the predicted potential."""

    name = "diagonal-linear-bias"
    statement = (
        "Gradient flow of a diagonal linear network started at u = v = alpha ends at the "
        "interpolant of least sum_i q(b_i / alpha^2): least L1 norm for small alpha, least L2 for "
        "large."
    )
    source = "Woodworth et al., COLT 2020 (arXiv 2002.09277)"
    Config = DiagonalLinearBiasConfig

    def validate(self, config: DiagonalLinearBiasConfig) -> None:
        """Refuse a bad config before any compute."""
        if not 0 < config.samples < config.dims:
            raise ValueError(
                f"samples: must be positive and below dims ({config.dims}), got {config.samples}"
            )
        if not 0 < config.sparsity <= config.dims:
            raise ValueError(f"sparsity: must lie in [1, dims], got {config.sparsity}")
        if len(config.alphas) < 2 or not min(config.alphas) > 0:
            raise ValueError(f"alphas: at least two, all positive, got {config.alphas}")
        if config.spread < 0:
            raise ValueError(f"spread: must not be negative, got {config.spread}")
        for field in ("horizon", "rtol", "tolerance"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")

    def control(self, config: DiagonalLinearBiasConfig) -> DiagonalLinearBiasConfig:
        """A start whose scale differs between coordinates: another potential is minimised."""
        return dataclasses.replace(config, spread=1.0)

    def trials(self, config: DiagonalLinearBiasConfig) -> list[Trial]:
        """One trial a scale of the start, small ones first."""
        return [
            Trial(f"alpha{number:02d}", {"alpha": alpha})
            for number, alpha in enumerate(sorted(config.alphas))
        ]

    def measure(self, config: DiagonalLinearBiasConfig, trial: Trial) -> dict[str, np.ndarray]:
        """The end of the flow, the minimiser, and the least L1 and L2 norms of interpolants."""
        alpha = float(trial.parameters["alpha"])
        x, y = _data(config)
        rng = np.random.default_rng(config.seed + 1)
        start = alpha * np.exp(config.spread * rng.normal(size=config.dims))
        params = {"u": jnp.asarray(start), "v": jnp.asarray(start)}
        loss = jax.tree_util.Partial(_loss, jnp.asarray(x), jnp.asarray(y))
        t1 = config.horizon / max(alpha**2, 1.0)
        ends, residuals = [], []
        for rtol in (config.rtol, config.rtol / REFINEMENT):
            # Entries as small as alpha^2 decide: the absolute tolerance must resolve them.
            flow = gradient_flow(
                loss,
                params,
                t1,
                saveat=np.array([0.0, t1]),
                rtol=rtol,
                atol=rtol * min(alpha, 1.0),
            )
            u, v = (np.asarray(flow.final[name]) for name in ("u", "v"))
            ends.append(u**2 - v**2)
            residuals.append(np.linalg.norm(x @ ends[-1] - y) / np.linalg.norm(y))
        oracle, converged = potential_minimiser(x, y, alpha)
        return {
            "alpha": np.asarray(alpha),
            "end": ends[1],
            "end_coarse": ends[0],
            "residual": np.asarray(residuals[1]),
            "oracle": oracle,
            "oracle_converged": np.asarray(converged),
            "least_l1": np.asarray(_least_l1(x, y)),
            "least_l2": np.asarray(np.linalg.norm(np.linalg.pinv(x) @ y)),
            "conditioning": np.asarray(np.linalg.cond(x)),
            "flow_status": np.asarray(flow.status),
        }

    def judge(self, config: DiagonalLinearBiasConfig, measurements: Measurements) -> Verdict:
        """Holds where every end is the predicted one, and the norms rise and fall with alpha."""
        trials = sorted(measurements.values(), key=lambda v: float(v["alpha"]))
        rows = [_row(v) for v in trials]
        worst = max(range(len(rows)), key=lambda i: rows[i]["distance"])
        v, distance = trials[worst], rows[worst]["distance"]
        norm = float(np.linalg.norm(v["oracle"]))
        budget = dict.fromkeys(PARTS, 0.0) | {
            "integrator": float(np.linalg.norm(v["end"] - v["end_coarse"])) / norm
            # What the flow still had to go when it was stopped.
            + float(v["residual"] * v["conditioning"]),
            "floating_point": 1e-10 * float(v["conditioning"]),
        }
        margin, total = config.tolerance - distance, sum(budget.values())
        l1, l2 = ([row[f"{n} over least"] for row in rows] for n in ("L1", "L2"))
        ordered = l1[0] == min(l1) and l2[-1] == min(l2)
        summary = {
            "distance": {f"{row['alpha']:g}": row["distance"] for row in rows},
            "l1_over_least": {f"{row['alpha']:g}": row["L1 over least"] for row in rows},
            "l2_over_least": {f"{row['alpha']:g}": row["L2 over least"] for row in rows},
            "largest_residual": max(row["residual"] for row in rows),
        }
        done = all(str(v["flow_status"]) == "completed" and v["oracle_converged"] for v in trials)
        if not done or not np.isfinite(distance) or abs(margin) <= total:
            status, reason = "inconclusive", "the margin lies inside the error budget"
        elif margin < 0:
            status = "violated"
            reason = f"the flow ends {distance:.2g} of its norm away from the predicted interpolant"
        elif not ordered:
            status = "violated"
            reason = "the least L1 (L2) norm is not at the smallest (largest) alpha"
        else:
            status = "holds"
            reason = (
                f"every end lies within {distance:.2g} of the predicted interpolant; the L1 norm "
                f"is {l1[0]:.3f} of the least at alpha = {rows[0]['alpha']:g}, the L2 norm "
                f"{l2[-1]:.3f} at {rows[-1]['alpha']:g}"
            )
        return Verdict(status, False, margin, budget, reason, summary)

    def draw(
        self, config: DiagonalLinearBiasConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Norms against alpha; the entries of the ends against the predicted ones."""
        trials = sorted(measurements.values(), key=lambda v: float(v["alpha"]))
        rows = [_row(v) for v in trials]
        alphas = [row["alpha"] for row in rows]
        with paper_style():
            figure, (left, right) = panels(2)
            for name, color in (("L1", BLUE), ("L2", GREEN)):
                values = [row[f"{name} over least"] for row in rows]
                left.loglog(alphas, values, "o", color=color, label=f"{name}, flow's end")
                predicted = [row[f"predicted {name} over least"] for row in rows]
                left.semilogx(alphas, predicted, "-", color=color, lw=1, label=f"{name}, predicted")
            left.axhline(1.0, color=GREY, lw=1, ls=":")
            low, high = left.get_ylim()
            left.set_ylim(low, high + 0.5 * (high - low))  # room for the legend
            left.set_xlabel(r"scale of the start $\alpha$")
            left.set_ylabel("norm / least among interpolants")
            left.legend(loc="upper center", ncols=2)
            for v, marker in zip((trials[0], trials[-1]), ("o", "s"), strict=True):
                label = rf"$\alpha = {float(v['alpha']):g}$"
                right.plot(v["oracle"], v["end"], marker, ms=4, mfc="none", label=label)
            span = np.array(right.get_xlim())
            right.plot(span, span, ":", color=RED, lw=1)
            right.set_xlabel("entries of the predicted interpolant")
            right.set_ylabel("entries of the flow's end")
            right.legend()
            figure.suptitle(f"Bias of diagonal networks: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: DiagonalLinearBiasConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a scale of the start."""
        return [_row(v) for v in sorted(measurements.values(), key=lambda v: float(v["alpha"]))]


def potential_minimiser(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], alpha: float
) -> tuple[Float[np.ndarray, " d"], bool]:
    """The interpolant of least `sum q(b_i / alpha^2)`, and whether the search converged.

    `q(z) = 2 - sqrt(4 + z^2) + z arcsinh(z / 2)` has `q'(z) = arcsinh(z / 2)`, so at the minimum
    `b = 2 alpha^2 sinh(x^T nu)`, and `nu` maximises the concave dual
    `<nu, y> - 2 alpha^2 sum cosh(x^T nu)`.

    Example:
        >>> import numpy as np
        >>> b, converged = potential_minimiser(np.array([[1.0, 2.0]]), np.array([5.0]), 100.0)
        >>> b.round(3).tolist(), converged  # large alpha: least squares
        ([1.0, 2.0], True)
    """

    def value(nu: np.ndarray) -> float:
        return float(2 * alpha**2 * np.cosh(nu @ x).sum() - nu @ y)

    def slope(nu: np.ndarray) -> np.ndarray:
        return x @ (2 * alpha**2 * np.sinh(nu @ x)) - y

    def curvature(nu: np.ndarray) -> np.ndarray:
        return (x * (2 * alpha**2 * np.cosh(nu @ x))) @ x.T

    nu = np.zeros(len(y))
    for _ in range(500):  # damped Newton: the dual is smooth and strictly convex
        gradient = slope(nu)
        if np.linalg.norm(gradient) <= 1e-12 * np.linalg.norm(y):
            break
        step = np.linalg.solve(curvature(nu), gradient)
        size, now = 1.0, value(nu)
        with np.errstate(over="ignore"):
            while size > 1e-12 and not value(nu - size * step) <= now - 0.1 * size * (
                step @ gradient
            ):
                size /= 2
        nu = nu - size * step
    b = 2 * alpha**2 * np.sinh(nu @ x)
    return b, bool(np.linalg.norm(x @ b - y) <= 1e-8 * np.linalg.norm(y))


def _loss(x: Array, y: Array, p: dict[str, Array]) -> Array:
    return jnp.mean(jnp.square(x @ (jnp.square(p["u"]) - jnp.square(p["v"])) - y)) / 2


def _data(config) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(config.seed)
    x = rng.normal(size=(config.samples, config.dims))
    truth = np.zeros(config.dims)
    truth[: config.sparsity] = np.where(np.arange(config.sparsity) % 2, -1.0, 1.5)
    return x, x @ truth


def _least_l1(x: np.ndarray, y: np.ndarray) -> float:
    dims = x.shape[1]
    found = scipy.optimize.linprog(np.ones(2 * dims), A_eq=np.hstack([x, -x]), b_eq=y)
    return float(found.fun)


def _row(v: dict[str, np.ndarray]) -> dict[str, Any]:
    end, oracle = v["end"], v["oracle"]
    return {
        "alpha": float(v["alpha"]),
        "distance": float(np.linalg.norm(end - oracle) / np.linalg.norm(oracle)),
        "residual": float(v["residual"]),
        "L1 over least": float(np.abs(end).sum() / v["least_l1"]),
        "predicted L1 over least": float(np.abs(oracle).sum() / v["least_l1"]),
        "L2 over least": float(np.linalg.norm(end) / v["least_l2"]),
        "predicted L2 over least": float(np.linalg.norm(oracle) / v["least_l2"]),
    }


CLAIM = DiagonalLinearBias()
