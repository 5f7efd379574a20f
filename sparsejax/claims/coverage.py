"""Random sparse lifts are locally trees, and every shape of tree is found in proportion."""

import dataclasses
import functools
from typing import Any, get_args

import equinox as eqx
import jax
import numpy as np
import scipy.stats
from jaxtyping import Array
from matplotlib.figure import Figure

from sparsejax import graphs, lifts
from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import GREY, MARKERS, PALETTE, panels, paper_style
from sparsejax.claims.setting import LawName, check_sizes
from sparsejax.claims.statistics import ladder_slope_interval
from sparsejax.lifts import InTree

TOLERANCE = 0.15
# Below this probability, adjusted for the number of comparisons, an expectation is refuted.
LEVEL = 1e-3
LAWS: tuple[LawName, ...] = get_args(LawName)
ROOT, DEPTH = "h3", 2
NOT_A_TREE = "not a tree"


@dataclasses.dataclass(frozen=True)
class CoverageConfig:
    """Cones two levels deep in random lifts of growing size, under both laws."""

    sizes: tuple[int, ...] = (512, 2048, 8192)
    """Vertices per layer, one ladder step each."""
    lifts: int = 32
    """Random lifts per size and law."""
    in_degree: int = 3
    """Predecessors of every vertex: exactly (regular law) or on average (binomial law)."""
    confidence: float = 0.95
    """Level of the intervals of the slopes."""
    dense: bool = False
    """Give every vertex all of the layer below instead (the control: no cone is a tree)."""
    seed: int = 0
    """Seed of everything random; trials use seeds derived from it."""


class Coverage:
    """Fractions and counts of cones against size, with exact expectations and fitted slopes."""

    name = "coverage"
    statement = (
        "In random sparse lifts the fraction of cones that are not trees falls like 1/n, and every "
        "tree shape is found a number of times that grows like n, with the predicted fraction."
    )
    source = "Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930); expectations derived here"
    Config = CoverageConfig

    def validate(self, config: CoverageConfig) -> None:
        """Refuse a bad config before any compute."""
        if len(config.sizes) < 2 or len(set(config.sizes)) < len(config.sizes):
            raise ValueError(f"sizes: at least two different sizes make a slope: {config.sizes}")
        check_sizes(config.sizes, config.in_degree)
        if config.in_degree < 2:
            raise ValueError(
                f"in_degree: must be at least 2, got {config.in_degree}; chains have no two paths"
            )
        if config.lifts < 2:
            raise ValueError(f"lifts: at least 2 are needed for an interval, got {config.lifts}")
        if not 0 < config.confidence < 1:
            raise ValueError(f"confidence: must lie in (0, 1), got {config.confidence}")

    def control(self, config: CoverageConfig) -> CoverageConfig:
        """Dense lifts, small ones: every cone beyond depth one is full of cycles."""
        return dataclasses.replace(config, dense=True, sizes=(16, 32, 64), lifts=2)

    def trials(self, config: CoverageConfig) -> list[Trial]:
        """One trial a lift, small sizes first; both laws in each."""
        return [
            Trial(f"size{size:06d}-lift{number:03d}", {"size": size, "number": number})
            for size in config.sizes
            for number in range(config.lifts)
        ]

    def measure(self, config: CoverageConfig, trial: Trial) -> dict[str, np.ndarray]:
        """Draw one lift of each law and count."""
        size, number = trial.parameters["size"], trial.parameters["number"]
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), size), number)
        measured = {"size": np.asarray(size)}
        for law in LAWS:
            degree = size if config.dense else config.in_degree
            lift = _draw(size, degree, law, jax.random.fold_in(key, LAWS.index(law)))
            trees = lifts.tree_like(lift, ROOT, DEPTH)
            measured[f"{law}: {NOT_A_TREE}"] = np.asarray(np.sum(~trees))
            for name, shape in _shapes(config.in_degree, law).items():
                found = lifts.has_in_tree(lift, ROOT, shape)
                # Under the regular law all unrolled cones are alike; as graphs they are not.
                count = found if law == "binomial" else found & trees
                measured[f"{law}: {name}"] = np.asarray(np.sum(count))
            measured[f"{law}: cone size"] = lifts.cone_sizes(lift, ROOT, DEPTH).mean()
        return measured

    def judge(self, config: CoverageConfig, measurements: Measurements) -> Verdict:
        """Slopes within 0.15 of -1 and 1, and no exact expectation refuted."""
        sizes = np.array(sorted(config.sizes))
        summary: dict[str, Any] = {"slope": {}, "slope_low": {}, "slope_high": {}}
        statuses, worst, spread, chances = [], np.inf, 0.0, []
        for quantity, nominal in _quantities(config).items():
            counts = _ladder(config, measurements, quantity)
            # A fraction falls like 1/n where its count stays, a count grows where it is a share.
            values = counts / sizes if nominal < 0 else counts
            slope, low, high = ladder_slope_interval(sizes.astype(float), values, config.confidence)
            summary["slope"][quantity] = slope
            summary["slope_low"][quantity] = low
            summary["slope_high"][quantity] = high
            slack = TOLERANCE - max(abs(low - nominal), abs(high - nominal))
            worst, spread = min(worst, slack), max(spread, (high - low) / 2)
            if np.isnan(slope) or low > nominal + TOLERANCE or high < nominal - TOLERANCE:
                statuses.append(("violated", quantity))
            elif slack < 0:
                statuses.append(("inconclusive", quantity))
            for column, size in enumerate(sizes):
                expected = size * _expected(config, int(size), quantity)
                chances.append((_chance(counts[:, column], expected), quantity, int(size)))
        smallest, refuted, at = min(chances)
        adjusted = min(1.0, smallest * len(chances))
        summary |= {
            "least_probability": adjusted,
            "comparisons": len(chances),
            "expected_fraction": {
                q: {str(s): _expected(config, int(s), q) for s in sizes}
                for q in _quantities(config)
            },
            "measured_fraction": {
                q: {
                    str(s): float(column.mean() / s)
                    for s, column in zip(sizes, _ladder(config, measurements, q).T, strict=True)
                }
                for q in _quantities(config)
            },
        }
        faults = [quantity for status, quantity in statuses if status == "violated"]
        if faults:
            status = "violated"
            reason = (
                f"{faults[0]}: slope {summary['slope'][faults[0]]:.3f} is not within {TOLERANCE} "
                f"of {_quantities(config)[faults[0]]:g}"
            )
        elif adjusted < LEVEL:
            status = "violated"
            reason = (
                f"{refuted}, size {at}: the exact expectation is refuted, p = {adjusted:.1e} after "
                f"{len(chances)} comparisons"
            )
        elif statuses:
            status = "inconclusive"
            quantity = statuses[0][1]
            reason = (
                f"{quantity}: the slope lies in [{summary['slope_low'][quantity]:.3f}, "
                f"{summary['slope_high'][quantity]:.3f}]; draw more lifts"
            )
        else:
            status = "holds"
            cones = [summary["slope"][f"{law}: {NOT_A_TREE}"] for law in LAWS]
            reason = (
                f"cones that are no trees fall with slopes {cones[0]:.3f} and {cones[1]:.3f}, "
                f"shapes grow with slopes near 1, and none of {len(chances)} exact expectations is "
                f"refuted (least adjusted p {adjusted:.2g})"
            )
        budget = {
            "integrator": 0.0,
            "quadrature": 0.0,
            "sampling": float(spread),
            "floating_point": 0.0,
        }
        return Verdict(status, False, float(worst), budget, reason, summary)

    def draw(self, config: CoverageConfig, measurements: Measurements, verdict: Verdict) -> Figure:
        """Fractions of cones that are no trees, and counts of shapes, with their expectations."""
        sizes = np.array(sorted(config.sizes))
        with paper_style():
            figure, (left, right) = panels(2, width=4.2, height=3.6)
            for number, quantity in enumerate(_quantities(config)):
                axes = left if NOT_A_TREE in quantity else right
                counts = _ladder(config, measurements, quantity)
                values = counts / sizes if axes is left else counts
                scale = np.ones_like(sizes) if axes is left else sizes
                color, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
                mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))
                expected = scale * [_expected(config, int(s), quantity) for s in sizes]
                slope = verdict.summary["slope"][quantity]
                fitted = "" if np.isnan(slope) else f" (slope {slope:.2f})"
                label = quantity.replace(f": {NOT_A_TREE}", " law") if axes is left else quantity
                axes.errorbar(
                    sizes,
                    np.where(mean > 0, mean, np.nan),
                    yerr=error,
                    fmt=marker,
                    color=color,
                    ms=4.5,
                    capsize=2,
                    label=label + (fitted if (mean > 0).any() else " (none found)"),
                )
                if (expected > 0).any():
                    axes.plot(sizes, expected, "-", color=color, lw=1, alpha=0.8)
            for axes in (left, right):
                axes.plot([], [], "-", color=GREY, lw=1, label="exact expectation")
                axes.set_xscale("log", base=2)
                found = any(np.nanmax(line.get_ydata(), initial=0) > 0 for line in axes.lines)
                axes.set_yscale("log" if found else "linear")
                axes.set_xlim(sizes[0] / 1.2, sizes[-1] * 1.2)
                axes.set_xticks(sizes, [str(s) for s in sizes])
                axes.minorticks_off()
                axes.set_xlabel("vertices per layer $n$")
                low, high = axes.get_ylim()
                # Room for the legend.
                axes.set_ylim(*((low, high * (high / low) ** 0.6) if found else (0, 1)))
                axes.legend(loc="upper left" if axes is right else "upper right")
            left.set_ylabel("fraction of cones that are no trees")
            left.set_title(f"cones {DEPTH} levels deep")
            right.set_ylabel("cones of a shape per lift")
            right.set_title("counts of shapes")
            figure.suptitle(f"Coverage: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: CoverageConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a quantity: slope, and fractions at the largest size."""
        largest = str(max(config.sizes))
        summary = verdict.summary
        return [
            {
                "quantity": quantity,
                "slope expected": nominal,
                "slope": summary["slope"][quantity],
                "low": summary["slope_low"][quantity],
                "high": summary["slope_high"][quantity],
                f"fraction at {largest}": summary["measured_fraction"][quantity][largest],
                "exact": summary["expected_fraction"][quantity][largest],
                "limit": _limit(config, quantity),
            }
            for quantity, nominal in _quantities(config).items()
        ]


@functools.cache
def _module() -> graphs.PerceptronModule:
    return graphs.mlp(inputs=1, hidden=3, outputs=1)


@eqx.filter_jit
def _draw(size: int, degree: int, law: str, key: Array) -> lifts.Lift:
    return lifts.random_sparse_lift(key, _module(), size, degree, law=law)


def _shapes(in_degree: int, law: str) -> dict[str, InTree]:
    """Named shapes two levels deep: in-degree of the root, then of its predecessors."""

    def shape(*degrees: int) -> InTree:
        return InTree({"h2->h3": [InTree({"h1->h2": [InTree()] * k}) for k in degrees]})

    if law == "regular":
        return {"trees": lifts.uniform_in_tree(_module(), ROOT, DEPTH, in_degree)}
    described = {
        (in_degree,): shape(in_degree),
        (in_degree, in_degree - 1): shape(in_degree, in_degree - 1),
        (in_degree - 1, in_degree - 1): shape(in_degree - 1, in_degree - 1),
    }
    return {_described(degrees): held for degrees, held in described.items()}


def _described(degrees: tuple[int, ...]) -> str:
    several = "s" if len(degrees) > 1 else ""
    return f"{len(degrees)} predecessor{several} with {' and '.join(map(str, degrees))}"


def _quantities(config: CoverageConfig) -> dict[str, float]:
    """What is measured, with the slope that theory gives it against size."""
    trees = {f"{law}: {NOT_A_TREE}": -1.0 for law in LAWS}
    shapes = {f"{law}: {n}": 1.0 for law in LAWS for n in _shapes(config.in_degree, law)}
    return trees | shapes


@functools.lru_cache(maxsize=512)
def _expected(config: CoverageConfig, size: int, quantity: str) -> float:
    """The exact expected fraction of cones."""
    law_name, name = _parted(quantity)
    degree = size if config.dense else config.in_degree
    law = lifts.LiftLaw(_module(), size, degree, law_name)
    if name == NOT_A_TREE:
        return 1.0 - lifts.tree_like_probability(law, ROOT, DEPTH).value
    shape = _shapes(config.in_degree, law_name)[name]
    if law_name == "regular":
        return lifts.embedded_in_tree_probability(law, ROOT, shape).value
    expectation = lifts.in_tree_probability(law, ROOT, shape)
    assert expectation.kind == "exact"
    return expectation.value


def _parted(quantity: str) -> tuple[LawName, str]:
    """The law and what is counted."""
    law = next(law for law in LAWS if quantity.startswith(f"{law}: "))
    return law, quantity.removeprefix(f"{law}: ")


def _limit(config: CoverageConfig, quantity: str) -> float:
    """The fraction as sizes grow."""
    law_name, name = _parted(quantity)
    if name == NOT_A_TREE:
        return 0.0
    law = lifts.LiftLaw(_module(), max(config.sizes), config.in_degree, law_name)
    shape = _shapes(config.in_degree, law_name)[name]
    return lifts.in_tree_probability(law, ROOT, shape, limit=True).value


def _ladder(config: CoverageConfig, measurements: Measurements, quantity: str) -> np.ndarray:
    """Counts of a quantity, one row a lift number and one column a size."""
    return np.array(
        [
            [
                float(measurements[f"size{size:06d}-lift{number:03d}"][quantity])
                for size in sorted(config.sizes)
            ]
            for number in range(config.lifts)
        ]
    )


def _chance(counts: np.ndarray, expected: float) -> float:
    """P(a mean at least so far from the expectation), by Student's law over independent lifts."""
    if np.ptp(counts) == 0:
        return 1.0 if np.isclose(counts[0], expected, rtol=1e-9, atol=1e-9) else 0.0
    return float(scipy.stats.ttest_1samp(counts, expected).pvalue)


CLAIM = Coverage()
