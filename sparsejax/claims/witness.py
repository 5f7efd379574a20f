"""Why large random lifts learn: they hold many approximate copies of any small good network."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from sparsejax import lifts
from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import BLUE, GREEN, GREY, ORANGE, RED, panels, paper_style
from sparsejax.claims.setting import check_sizes
from sparsejax.claims.statistics import ladder_slope_interval
from sparsejax.claims.trained_witness import (
    WitnessConfig,
    draw_lift,
    in_degrees,
    module_of,
    root_of,
    trained_witness,
)
from sparsejax.dynamics import squared_loss
from sparsejax.tangent import tangent_constant

TOLERANCE = 0.15


class WitnessCount:
    """Copies of a trained witness against size, the step that they give, and kappa below it."""

    name = "witness"
    statement = (
        "Approximate copies of a trained witness's cones in a random lift grow like its size; "
        "spread over them, the witness's output weights are a step that reaches its loss, and the "
        "tangent constant, which is at most that step, falls as copies become many."
    )
    source = "Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930); expected counts derived here"
    Config = WitnessConfig

    def validate(self, config: WitnessConfig) -> None:
        """Refuse a bad config before any compute."""
        if len(config.sizes) < 2 or len(set(config.sizes)) < len(config.sizes):
            raise ValueError(f"sizes: at least two different sizes make a slope: {config.sizes}")
        for field in (
            "witness_size", "witness_tries", "training_steps", "samples", "hidden", "in_degree",
            "eta", "gain",
        ):  # fmt: skip
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        for field in ("decay", "bias_scale"):
            if getattr(config, field) < 0:
                raise ValueError(f"{field}: must not be negative, got {getattr(config, field)}")
        if config.lifts < 2:
            raise ValueError(f"lifts: at least 2 are needed for an interval, got {config.lifts}")
        if config.dims < 2:
            raise ValueError(f"dims: the target needs two coordinates, got {config.dims}")
        for field in ("eps_fraction", "confidence"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        # A single layer reads coordinates alone, whatever its size.
        widest = config.in_degree if config.hidden > 1 else None
        check_sizes((*config.sizes, config.witness_size), widest)
        lifts.LiftLaw(module_of(config), min(config.sizes), in_degrees(config), config.law)

    def control(self, config: WitnessConfig) -> WitnessConfig:
        """An eta so large that copies are copies of nothing but the wiring."""
        return dataclasses.replace(config, eta=50 * config.gain)

    def trials(self, config: WitnessConfig) -> list[Trial]:
        """One trial a lift, small sizes first."""
        return [
            Trial(f"size{size:06d}-lift{number:03d}", {"size": size, "number": number})
            for size in config.sizes
            for number in range(config.lifts)
        ]

    def measure(self, config: WitnessConfig, trial: Trial) -> dict[str, np.ndarray]:
        """Count the copies in one random lift, build the step, and compute the tangent constant."""
        # Neither witness nor lift depends on eta: controls share them, and their programs.
        setting = dataclasses.replace(config, eta=1.0)
        witness = trained_witness(setting)
        size, number = trial.parameters["size"], trial.parameters["number"]
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), size), number)
        lift, params = draw_lift(setting, size, jax.random.fold_in(key, 1))
        root, x, y = root_of(config), witness.x, witness.y
        distances = np.stack(
            [lifts.witness_distances(lift, params, root, tree) for tree in witness.trees]
        )
        copies = distances <= config.eta
        counts = copies.sum(axis=1)
        # The witness's output weight of each cone, shared equally by its copies.
        shares = np.where(counts > 0, witness.outputs / np.maximum(counts, 1), 0.0)
        spread = shares @ copies
        # Outputs start at zero and are linear in their weights, so that the linearised network
        # after the step is the network with these output weights.
        moved = dict(params)
        moved[f"{root}->y"] = jnp.asarray(spread).reshape(params[f"{root}->y"].shape)
        moved["one->y"] = jnp.full_like(params["one->y"], witness.offset)
        eps = config.eps_fraction * witness.zero_loss
        return {
            "size": np.asarray(size),
            "counts": counts,
            "nearest": distances.min(axis=1),
            "step_length": np.asarray(np.sqrt(np.sum(spread**2) + witness.offset**2)),
            "step_loss": np.asarray(squared_loss(lift.apply, x, y)(moved)) / witness.zero_loss,
            "kappa": np.asarray(tangent_constant(lift.apply, params, x, y, eps)),
            "witness_loss": np.asarray(witness.loss / witness.zero_loss),
            "witness_outputs": witness.outputs,
            "expected_fractions": np.array(
                [
                    lifts.witness_probability(
                        lifts.LiftLaw(module_of(config), size, in_degrees(config), config.law),
                        root,
                        tree,
                        config.eta,
                        gain=config.gain,
                        bias_scale=config.bias_scale,
                    ).value
                    for tree in witness.trees
                ]
            ),
        }

    def judge(self, config: WitnessConfig, measurements: Measurements) -> Verdict:
        """Copies grow like size, the step attains the level, and kappa lies below it and falls."""
        sizes = np.array(sorted(config.sizes))
        copies = _ladder(config, measurements, lambda v: v["counts"].sum())
        kappas = _ladder(config, measurements, lambda v: v["kappa"])
        lengths = _ladder(config, measurements, lambda v: v["step_length"])
        losses = _ladder(config, measurements, lambda v: v["step_loss"])
        expected = _ladder(
            config, measurements, lambda v: v["size"] * v["expected_fractions"].sum()
        )
        attained = losses <= config.eps_fraction
        grid = sizes.astype(float)
        growth = ladder_slope_interval(grid, copies, config.confidence)
        finite = np.isfinite(kappas).all()
        fall = (
            ladder_slope_interval(grid, kappas, config.confidence)
            if finite
            else (np.nan, -np.inf, np.inf)
        )
        witness_loss = float(next(iter(measurements.values()))["witness_loss"])
        # The definition makes kappa the shortest step that attains the level.
        excess = np.where(attained, kappas / lengths - 1, -np.inf)
        rounding = 1e-6
        slack = TOLERANCE - max(abs(growth[1] - 1), abs(growth[2] - 1))
        summary: dict[str, Any] = {
            "witness_loss_over_zero": witness_loss,
            "witness_cones": int(next(iter(measurements.values()))["counts"].size),
            "copies": _by_size(sizes, copies),
            "expected_copies": _by_size(sizes, expected),
            "kappa": _by_size(sizes, kappas),
            "step_length": _by_size(sizes, lengths),
            "step_loss_over_zero": _by_size(sizes, losses),
            "attained": _by_size(sizes, attained),
            "slope_of_copies": growth[0],
            "slope_of_copies_low": growth[1],
            "slope_of_copies_high": growth[2],
            "slope_of_kappa": fall[0],
            "slope_of_kappa_low": fall[1],
            "slope_of_kappa_high": fall[2],
            "eps_over_zero": config.eps_fraction,
        }
        largest = int(sizes[-1])
        if witness_loss > config.eps_fraction:
            status = "not_applicable"
            reason = (
                f"the witness is not good: its loss is {witness_loss:.2g} of that of zero, the "
                f"level is {config.eps_fraction:g}"
            )
        elif not copies[:, -1].all():
            status = "not_applicable"
            reason = f"at size {largest} some lift holds no copy: eta is too small, or the size"
        elif (excess > rounding).any():
            status = "violated"
            reason = (
                f"a tangent constant exceeds a step that attains its level by {excess.max():.2g}"
            )
        elif growth[1] > 1 + TOLERANCE or growth[2] < 1 - TOLERANCE:
            status = "violated"
            reason = f"copies grow with slope {growth[0]:.3f}, not 1"
        elif not attained[:, -1].any():
            status = "violated"
            reason = (
                f"at size {largest} the step over {copies[:, -1].mean():.0f} copies reaches at "
                f"best {losses[:, -1].min():.2g} of the loss of zero, not {config.eps_fraction:g}"
            )
        elif fall[1] >= 0:
            status = "violated"
            reason = f"the tangent constant does not fall with size: slope {fall[0]:.3f}"
        elif slack < 0 or not attained[:, -1].all() or not fall[2] < 0:
            status = "inconclusive"
            reason = (
                f"slope of copies in [{growth[1]:.3f}, {growth[2]:.3f}], of the tangent constant "
                f"in [{fall[1]:.3f}, {fall[2]:.3f}], and {attained[:, -1].sum()} of {config.lifts} "
                f"steps attain the level at size {largest}; draw more lifts, or larger"
            )
        else:
            status = "holds"
            reason = (
                f"copies grow with slope {growth[0]:.3f} to {copies[:, -1].mean():.0f}, the step "
                f"over them attains the level at size {largest} with length "
                f"{lengths[:, -1].mean():.3g}, and the tangent constant falls with slope "
                f"{fall[0]:.3f} to {kappas[:, -1].mean():.3g} below it"
            )
        budget = {
            "integrator": 0.0,
            "quadrature": 0.0,
            "sampling": float((growth[2] - growth[1]) / 2),
            "floating_point": rounding,
        }
        return Verdict(status, False, float(slack), budget, reason, summary)

    def draw(self, config: WitnessConfig, measurements: Measurements, verdict: Verdict) -> Figure:
        """Copies against size; step and tangent constant against copies; the step's loss."""
        sizes = np.array(sorted(config.sizes))
        summary = verdict.summary
        copies = _ladder(config, measurements, lambda v: v["counts"].sum())
        with paper_style():
            figure, (left, middle, right) = panels(3, width=3.5, height=3.5)
            grid = np.broadcast_to(sizes, copies.shape)
            slope = summary["slope_of_copies"]
            said = "" if np.isnan(slope) else f" (slope {slope:.2f})"
            left.plot(
                grid.ravel(), _positive(copies), "o", color=BLUE, ms=4, label="one lift" + said
            )
            expected = [summary["expected_copies"][str(s)] for s in sizes]
            left.plot(sizes, expected, "-", color=GREY, lw=1, label="expected")
            left.set_xlabel("vertices per hidden layer $n$")
            left.set_ylabel(rf"copies within $\eta = {config.eta:g}$")
            left.set_title("copies of the witness's cones")
            attained = _ladder(config, measurements, lambda v: v["step_loss"]).ravel()
            good = attained <= config.eps_fraction
            lengths = _ladder(config, measurements, lambda v: v["step_length"]).ravel()
            kappas = _ladder(config, measurements, lambda v: v["kappa"]).ravel()
            many = copies.ravel()
            for chosen, fill, label in (
                (good & (many > 0), ORANGE, "step over the copies"),
                (~good & (many > 0), "none", "the same, level not attained"),
            ):
                middle.plot(
                    many[chosen], lengths[chosen], "s", color=ORANGE, mfc=fill, ms=4.5, label=label
                )
            seen = np.isfinite(kappas) & (many > 0)
            middle.plot(
                many[seen], kappas[seen], "o", color=GREEN, ms=4, label=r"$\kappa_\epsilon$"
            )
            if (good & (many > 0)).any():
                start = np.array([many[many > 0].min(), many.max()])
                last = good & (many > 0)
                scale = np.exp(np.mean(np.log(lengths[last] * np.sqrt(many[last]))))
                middle.plot(start, scale / np.sqrt(start), ":", color=GREY, label="slope $-1/2$")
            middle.set_xlabel("copies in the lift")
            middle.set_ylabel("length of the step")
            middle.set_title("step and tangent constant")
            right.plot(
                grid.ravel(), attained, "s", color=ORANGE, ms=4.5, label="step over the copies"
            )
            right.axhline(config.eps_fraction, color=RED, ls="--", lw=1, label=r"level $\epsilon$")
            right.axhline(
                summary["witness_loss_over_zero"], color=BLUE, ls=":", lw=1.2, label="witness"
            )
            right.set_xlabel("vertices per hidden layer $n$")
            right.set_ylabel("loss / loss of zero")
            right.set_title("loss of the linearised network")
            for axes in (left, right):
                axes.set_xscale("log", base=2)
                axes.set_xticks(sizes, [str(s) for s in sizes])
                axes.set_xlim(sizes[0] / 1.3, sizes[-1] * 1.3)
            middle.set_xscale("log")
            for axes in (left, middle, right):
                axes.minorticks_off()
                axes.set_yscale("log")
                low, high = axes.get_ylim()
                axes.set_ylim(low, high * (high / low) ** 0.45)  # room for the legend
            left.legend(loc="upper left")
            middle.legend(loc="upper right")
            right.legend(loc="upper right")
            figure.suptitle(f"Witness: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: WitnessConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a size, means over lifts."""
        summary = verdict.summary
        columns = {
            "copies": "copies",
            "expected copies": "expected_copies",
            "step length": "step_length",
            "kappa": "kappa",
            "step loss / zero": "step_loss_over_zero",
            "attained": "attained",
        }
        return [
            {"size": size, "lifts": config.lifts}
            | {title: summary[name][str(size)] for title, name in columns.items()}
            for size in sorted(config.sizes)
        ]


def _ladder(config: WitnessConfig, measurements: Measurements, of) -> np.ndarray:
    """One number a trial: rows are lifts, columns sizes."""
    return np.array(
        [
            [
                float(of(measurements[f"size{size:06d}-lift{number:03d}"]))
                for size in sorted(config.sizes)
            ]
            for number in range(config.lifts)
        ]
    )


def _expected(values: dict[str, np.ndarray]) -> float:
    """The expected number of copies, over all cones of the witness."""
    return float(values["size"] * values["expected_fractions"].sum())


def _by_size(sizes: np.ndarray, values: np.ndarray) -> dict[str, float]:
    return {str(s): float(column.mean()) for s, column in zip(sizes, values.T, strict=True)}


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan).ravel()


CLAIM = WitnessCount()
