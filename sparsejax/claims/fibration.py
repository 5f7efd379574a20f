"""Along a fibration functions are carried unchanged: copies and in-trees compute alike."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from sparsejax import lifts
from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import BLUE, GREY, ORANGE, panels, paper_style
from sparsejax.claims.ready_made import KINDS
from sparsejax.lifts.weighted_edges import LiftedEdges, WeightedEdges, lifted_edges, weighted_lift

# Sums run in another order above than below: so many units of rounding, relative to the largest
# value of a fibre, are allowed for the whole network.
ROUNDINGS = 1e4
LAWS = ("binomial", "regular")


@dataclasses.dataclass(frozen=True)
class FibrationConfig:
    """Random lifts of every ready-made kind of module, with random fibrations onto them."""

    kinds: tuple[str, ...] = tuple(KINDS)
    """Kinds of module: any of those that sparsejax has ready-made."""
    size: int = 8
    """Vertices above every duplicated base vertex of the lift below."""
    copies: int = 2
    """How many times as many vertices the lift above has."""
    in_degree: int = 2
    """Predecessors of every vertex over an edge; both laws take turns."""
    lifts: int = 1
    """Random lifts per kind."""
    roots: int = 1
    """Vertices per lift, hidden or output, whose in-trees are unrolled."""
    samples: int = 5
    """Random inputs at which values are compared."""
    rewired: bool = False
    """Carry the weights, then move one in-edge to another source (the control)."""
    seed: int = 0
    """Seed of everything random; trials use seeds derived from it."""


class Fibration:
    """The largest difference of values along random fibrations and unrolled in-trees."""

    name = "fibration"
    statement = (
        "If a map of lifts sends the in-edges of every vertex bijectively and weights are carried "
        "along it, every vertex computes what its image does; so does an unrolled in-tree."
    )
    source = "Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930); Boldi, Vigna 2002"
    Config = FibrationConfig

    def validate(self, config: FibrationConfig) -> None:
        """Refuse a bad config before any compute."""
        if not config.kinds:
            raise ValueError(f"kinds: give at least one of {', '.join(KINDS)}")
        for kind in config.kinds:
            if kind not in KINDS:
                raise ValueError(f"kinds: unknown kind {kind!r}; known are {', '.join(KINDS)}")
        for field in ("size", "copies", "in_degree", "lifts", "roots", "samples"):
            if getattr(config, field) < 1:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        if config.in_degree > config.size:
            raise ValueError(
                f"in_degree: {config.in_degree} is above the {config.size} predecessors that a "
                f"fibre of size {config.size} has; lower it, or raise the size"
            )

    def control(self, config: FibrationConfig) -> FibrationConfig:
        """A map that is no fibration: one in-edge comes from elsewhere."""
        return dataclasses.replace(config, rewired=True)

    def trials(self, config: FibrationConfig) -> list[Trial]:
        """One trial a kind and lift."""
        return [
            Trial(f"{kind}-lift{number:03d}", {"kind": kind, "number": number})
            for kind in config.kinds
            for number in range(config.lifts)
        ]

    def measure(self, config: FibrationConfig, trial: Trial) -> dict[str, np.ndarray]:
        """Compare all values of one lift with those of its copies and of unrolled in-trees."""
        name, number = trial.parameters["kind"], trial.parameters["number"]
        kind = KINDS[name]
        turn = list(KINDS).index(name) + number
        module, law = kind.build(), LAWS[turn % len(LAWS)]
        key = jax.random.fold_in(jax.random.key(config.seed), list(KINDS).index(name))
        keys = jax.random.split(jax.random.fold_in(key, number), 5)
        degree = {
            edge.name: config.in_degree
            for edge in module.edges
            if module.clamped(edge.source) is None and module.clamped(edge.target) is None
        }
        base = lifts.random_sparse_lift(keys[0], module, config.size, degree, law=law)
        params, x = base.init(keys[1]), kind.samples(keys[2], config.samples)
        below = _values(base, params, x)
        total, phi = lifts.random_fibration(keys[3], base, config.copies * config.size)
        carried = lifts.pull_back(phi, total, base, params)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(keys[4])))
        if config.rewired:
            total, carried = _rewired(total, carried, base, phi, rng)
        report = lifts.is_fibration(phi, total, base)
        above = _values(total, carried, x)
        differences = [
            _difference(above[v], below[v], phi[v] if module.clamped(v) is None else None)
            for v in module.order
        ]
        inner = [v for v in module.order if v not in module.inputs and _reached(module, v)]
        # Deep ones first: their in-trees are the larger.
        drawn = [inner[-1 - (number + i) % len(inner)] for i in range(config.roots)]
        roots = [(v, int(rng.integers(base.sizes[v]))) for v in drawn]
        trees, sizes, trees_are = [], [], []
        for root in roots:
            tree, weights, psi = lifts.unroll(base, params, root)
            trees_are.append(bool(lifts.is_fibration(psi, tree, base)))
            sizes.append(sum(tree.sizes.values()))
            fed = {v: x[v] for v in tree.module.fed_inputs}
            value = _values(tree, weights, fed)[root[0]]
            wanted = below[root[0]]
            if module.clamped(root[0]) != 1:
                wanted = wanted[:, root[1]]
            trees.append(_difference(value, wanted, None))
        return {
            "copies": np.asarray(max(differences)),
            "in_trees": np.asarray(max(trees)),
            "is_fibration": np.asarray(bool(report) and all(trees_are)),
            "fault": np.asarray(report.reason[:200] or "none"),
            "vertices_below": np.asarray(sum(base.sizes.values())),
            "vertices_above": np.asarray(sum(total.sizes.values())),
            "in_tree_sizes": np.asarray(sizes),
            "tolerance": np.asarray(
                ROUNDINGS * float(jnp.finfo(below[module.order[-1]].dtype).eps)
            ),
        }

    def judge(self, config: FibrationConfig, measurements: Measurements) -> Verdict:
        """Holds where all values agree to rounding, along maps that are fibrations."""
        worst = max(float(max(v["copies"], v["in_trees"])) for v in measurements.values())
        tolerance = min(float(v["tolerance"]) for v in measurements.values())
        faults = {n: str(v["fault"]) for n, v in measurements.items() if not v["is_fibration"]}
        summary: dict[str, Any] = {
            "largest_difference": worst,
            "tolerance": tolerance,
            "fibrations": len(measurements) - len(faults),
            "maps": len(measurements),
            "by_kind": {
                kind: max(
                    float(max(v["copies"], v["in_trees"]))
                    for n, v in measurements.items()
                    if _kind(n) == kind
                )
                for kind in dict.fromkeys(map(_kind, measurements))
            },
        }
        if faults:
            status = "not_applicable"
            name, fault = next(iter(faults.items()))
            reason = (
                f"{len(faults)} of {len(measurements)} maps are no fibrations ({name}: {fault}); "
                f"values differ by up to {worst:.2g} of the largest"
            )
        elif not worst <= tolerance:
            status = "violated"
            reason = f"values differ by {worst:.2g} of the largest, rounding allows {tolerance:.2g}"
        else:
            status = "holds"
            reason = (
                f"on {len(summary['by_kind'])} kinds of module values agree to {worst:.2g} of the "
                "largest, along random fibrations and on unrolled in-trees"
            )
        budget = {
            "integrator": 0.0,
            "quadrature": 0.0,
            "sampling": 0.0,
            "floating_point": tolerance / ROUNDINGS,
        }
        return Verdict(status, False, tolerance - worst, budget, reason, summary)

    def draw(self, config: FibrationConfig, measurements: Measurements, verdict: Verdict) -> Figure:
        """Largest differences by kind, against what rounding allows."""
        kinds = list(dict.fromkeys(map(_kind, measurements)))
        with paper_style():
            figure, (axes,) = panels(1, width=max(4.6, 0.9 * len(kinds) + 2.2), height=3.8)
            least = verdict.summary["tolerance"] / ROUNDINGS / 4
            for field, label, color, marker, shift in (
                ("copies", "all vertices, random fibration", BLUE, "o", -0.12),
                ("in_trees", "roots of unrolled in-trees", ORANGE, "s", 0.12),
            ):
                at = [kinds.index(_kind(n)) + shift for n in measurements]
                # Exact agreement has no place on a log axis: it is shown at its foot.
                values = [max(float(v[field]), least) for v in measurements.values()]
                axes.plot(at, values, marker, color=color, ms=5, alpha=0.8, label=label)
            axes.axhline(
                verdict.summary["tolerance"], color=GREY, ls="--", lw=1, label="rounding allows"
            )
            axes.axhline(least, color=GREY, ls=":", lw=1, label="exactly equal")
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            axes.set_ylim(low, high * (high / low) ** 0.5)  # room for the legend
            axes.set_xlim(-0.5, len(kinds) - 0.5)
            axes.set_xticks(range(len(kinds)), [k.replace("-", "\n") for k in kinds])
            axes.set_xlabel("module")
            axes.set_ylabel("difference / largest value")
            axes.legend(loc="upper left", ncols=2)
            axes.set_title(f"Fibration: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: FibrationConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a kind of module."""
        rows = []
        for kind in dict.fromkeys(map(_kind, measurements)):
            at = [v for n, v in measurements.items() if _kind(n) == kind]
            rows.append(
                {
                    "module": kind,
                    "lifts": len(at),
                    "vertices below": int(max(v["vertices_below"] for v in at)),
                    "vertices above": int(max(v["vertices_above"] for v in at)),
                    "largest in-tree": int(max(v["in_tree_sizes"].max() for v in at)),
                    "fibrations": sum(bool(v["is_fibration"]) for v in at),
                    "difference, copies": max(float(v["copies"]) for v in at),
                    "difference, in-trees": max(float(v["in_trees"]) for v in at),
                }
            )
        return rows


@eqx.filter_jit
def _activations(lift, params, x):
    return lift.activations(params, x)


def _values(lift: lifts.Lift, params: lifts.Params, x) -> dict[str, np.ndarray]:
    return {name: np.asarray(y) for name, y in _activations(lift, params, x).items()}


def _difference(above: np.ndarray, below: np.ndarray, images: np.ndarray | None) -> float:
    """The largest difference, relative to the largest value of the fibre."""
    expected = below if images is None else below[:, images]
    scale = float(np.max(np.abs(below), initial=0.0)) or 1.0
    return float(np.max(np.abs(above - expected), initial=0.0)) / scale


def _reached(module, name: str) -> bool:
    """Whether some fed input reaches a base vertex."""
    if name in module.inputs:
        return name in module.fed_inputs
    return any(_reached(module, edge.source) for edge in module.in_edges(name))


def _rewired(total, carried, base, phi, rng) -> tuple[lifts.Lift, lifts.Params]:
    """The same lift, but one in-edge comes from a vertex with another image; weights stay."""
    edges, moved = {}, False
    for edge in reversed(total.module.edges):
        own: LiftedEdges = lifted_edges(total, edge.name)
        sources = own.sources.copy()
        if not moved and total.module.clamped(edge.source) is None:
            for at in rng.permutation(len(sources)):
                taken = phi[edge.source][sources[own.targets == own.targets[at]]]
                other = np.flatnonzero(~np.isin(phi[edge.source], taken))
                if len(other):
                    sources[at], moved = rng.choice(other), True
                    break
        edges[edge.name] = WeightedEdges(sources, own.targets, own.weights(carried[edge.name]))
    return weighted_lift(total.module, total.sizes, edges, total.in_degrees)


def _kind(trial_name: str) -> str:
    return trial_name[: trial_name.rindex("-lift")]


CLAIM = Fibration()
