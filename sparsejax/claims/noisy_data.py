"""How the recovery of support and groups degrades with noise, missing values and imbalance."""

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import PARTS, Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.noisy_data_checks import Check, chance_check, curve_check, mild_check
from sparsejax.claims.noisy_data_levels import (
    IMPUTATIONS,
    NoisyDataConfig,
    cells_of,
    curves_of,
    mild_of,
    values_of,
)
from sparsejax.claims.noisy_data_tables import MECHANISMS, OWN, Spoiling, composition, spoiled
from sparsejax.claims.statistics import (
    bounded_mean_interval,
    clopper_pearson,
    mean_interval,
    underpowered,
    with_interval,
    worst_of,
)
from sparsejax.structure import agreement, discover

# The least adjusted Rand index of all is -1/2.
MEASURES = {"f1": (0.0, 1.0), "rand_index": (-0.5, 1.0)}


class NoisyData:
    """Curves of the F1 of the support and the adjusted Rand index of the groups.

    What is asserted, and why it should be so:

    - With noise of a tenth and a twentieth of the values missing, supports are found: a share s of
      the variance in n rows has a score of about n s over the noise, hundreds where s is a percent.
    - Every corruption makes recovery worse, level by level: the worse table can be made from the
      better one without knowing the target, so no method gains by it; and at the greatest level
      next to nothing is left (noise of k standard deviations divides the score by 1 + k^2; of
      values missing with probability q a product of three is known in (1 - q)^3 of the rows). A
      method that is not the best one may gain nevertheless: this can fail. Tested by Page's trend
      test, the fall from first to last level, and that no rise between neighbours is significant.
    - Halving the rows is such a corruption: so doubling them at a fixed noise does not hurt.
    - Whatever the corruption, permuted targets show nothing.

    Groups under imbalance are shown and not judged: the label is a threshold of the composition,
    in which parts of a sum act together too.
    """

    name = "noisy-data"
    statement = (
        "With a tenth of noise and a twentieth of values missing the support of a composition is "
        "found; noise, missing values (at random or not, imputed or not), class imbalance and "
        "fewer rows make recovery of support and groups worse level by level, and none makes "
        "anything show in a permuted target."
    )
    source = (
        "measured here; mechanisms of missingness: Rubin 1976; trend: Page, J. American "
        "Statistical Association 1963"
    )
    Config = NoisyDataConfig
    presets: ClassVar[dict[str, NoisyDataConfig]] = {
        "paper": NoisyDataConfig(
            rows=2000,
            targets=50,
            noise=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
            input_noise=(0.125, 0.25, 0.5, 1.0, 2.0),
            missing=(0.05, 0.1, 0.2, 0.3, 0.5, 0.7),
            imputations=("own", "mean", "median"),
            shares=(0.3, 0.2, 0.1, 0.05, 0.02, 0.01),
            halvings=5,
            mild_targets=200,
            permutations=20,
        )
    }

    def validate(self, config: NoisyDataConfig) -> None:
        """Refuse a bad config before any compute."""
        for field in ("noise", "input_noise", "missing"):
            values = getattr(config, field)
            rising = list(values) == sorted({float(v) for v in values})
            if len(values) < 2 or not rising or values[0] <= 0:
                raise ValueError(f"{field}: two positive levels that rise, or more; got {values}")
        if not config.missing[-1] < 1:
            raise ValueError(f"missing: shares below 1, got {config.missing}")
        shares = config.shares
        if len(shares) < 2 or list(shares) != sorted({float(s) for s in shares}, reverse=True):
            raise ValueError(f"shares: two of the rarer class that fall, or more; got {shares}")
        if not 0 < shares[-1] <= shares[0] < 0.5:
            raise ValueError(f"shares: between 0 and 1/2, got {shares}")
        for field, known in (("mechanisms", tuple(MECHANISMS)), ("imputations", IMPUTATIONS)):
            values = getattr(config, field)
            if not values or len(set(values)) < len(values) or not set(values) <= set(known):
                raise ValueError(f"{field}: of {', '.join(known)}, each once; got {values}")
        least = {
            "targets": 3, "mild_targets": 2, "permutations": 1, "halvings": 2, "first_target": 0,
        }  # fmt: skip
        for field, fewest in least.items():
            if getattr(config, field) < fewest:
                raise ValueError(f"{field}: at least {fewest}, got {getattr(config, field)}")
        fewest = min(2 * config.rows >> config.halvings, config.rows, config.mild_rows)
        if fewest < 50:
            raise ValueError(f"rows: at least 50 must be left everywhere, got {fewest}")
        if config.rows * shares[-1] < 5:
            raise ValueError(
                f"shares: {shares[-1]} of {config.rows} rows leaves fewer than five of a class"
            )
        for field in ("mild_noise", "halvings_noise"):
            if not 0 <= getattr(config, field) < math.inf:
                raise ValueError(f"{field}: must not be negative, got {getattr(config, field)}")
        if not 0 <= config.mild_missing < 1:
            raise ValueError(f"mild_missing: must lie in [0, 1), got {config.mild_missing}")
        for field in ("least_f1", "most_false", "confidence"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")

    def control(self, config: NoisyDataConfig) -> NoisyDataConfig:
        """Every target permuted: there is nothing to be found, so recovery is at chance."""
        return dataclasses.replace(config, shuffled=True)

    def trials(self, config: NoisyDataConfig) -> list[Trial]:
        """A trial a target and cell, then permuted targets at the ends of the curves."""
        found = [
            _trial(f"mild-target{number:03d}", number, mild_of(config))
            for number in range(config.mild_targets)
        ]
        cells = cells_of(config)
        found += [
            _trial(f"{cell}-target{number:03d}", number, how)
            for cell, how in cells.items()
            for number in range(config.targets)
        ]
        ends = {curve.cells[at]: None for curve in curves_of(config) for at in (0, -1)}
        found += [
            _trial(f"{cell}-permuted{number:03d}", number, cells[cell], permuted=True)
            for cell in ends
            for number in range(config.permutations)
        ]
        return found

    def measure(self, config: NoisyDataConfig, trial: Trial) -> dict[str, np.ndarray]:
        """What is found in one table, and how well it agrees with the truth."""
        given = trial.parameters
        seed, how = config.first_target + given["number"], Spoiling(**given["spoiling"])
        table = spoiled(seed, how, permuted=given["permuted"] or config.shuffled)
        target, truth = composition(seed)
        found = discover(table, given["number"])
        measured = agreement(found.places, truth, target.dims)
        numbers = {
            **dataclasses.asdict(measured),
            "support": len(found.support),
            "groups": len(found.groups),
            "explained": found.explained,
            "null_level": found.null_level,
            "rows": table.rows,
            "missing": float(table.missing.mean()),
        }
        return {name: np.asarray(value) for name, value in numbers.items()}

    def judge(self, config: NoisyDataConfig, measurements: Measurements) -> Verdict:
        """Holds where every check does; each curve's at its part of the joint level."""
        checks = self.checks(config, measurements)
        status = worst_of(check.status for check in checks)
        deciding = [check for check in checks if check.status == status]
        worst = min(deciding, key=lambda check: check.slack)
        said = {"holds": "nearest: ", "violated": "", "inconclusive": "undecided: "}[status]
        said += worst.said
        if status != "holds" and len(deciding) > 1:
            said += f" (and {len(deciding) - 1} more)"
        if status == "inconclusive":
            said += "; " + underpowered(worst.needed).replace("lifts", "targets")
        summary: dict[str, Any] = {
            "checks": [dataclasses.asdict(check) for check in checks],
            "curves": {
                curve.name: {
                    measure: [
                        bounded_mean_interval(v, config.confidence, bounds=MEASURES[measure])
                        for v in values_of(config, measurements, curve, measure).T
                    ]
                    for measure in MEASURES
                }
                for curve in curves_of(config)
            },
            "own_over_imputed": self.own_over_imputed(config, measurements),
        }
        if summary["own_over_imputed"]:
            what, least = min(summary["own_over_imputed"].items(), key=lambda item: item[1][1])
            said += (
                "; not to impute gains least in F1 over "
                f"{what}: {with_interval(*least, digits='.3f')}"
            )
        budget = dict.fromkeys(PARTS, 0.0) | {"sampling": worst.half}
        return Verdict(status, False, worst.margin, budget, said, summary)

    def own_over_imputed(
        self, config: NoisyDataConfig, measurements: Measurements
    ) -> dict[str, tuple[float, float, float]]:
        """What F1 gains by leaving values missing, in the mean over levels: shown, not judged.

        Differences are taken target by target.
        """
        curves = {curve.name: curve for curve in curves_of(config)}
        found = {}
        for mechanism in config.mechanisms:
            for imputation in config.imputations:
                if OWN in config.imputations and imputation != OWN:
                    own, other = (
                        values_of(config, measurements, curves[f"{mechanism}, {how}"], "f1")[:, 1:]
                        for how in (OWN, imputation)
                    )
                    found[f"{mechanism}, {imputation}"] = mean_interval(
                        (own - other).mean(axis=1), config.confidence
                    )
        return found

    def checks(self, config: NoisyDataConfig, measurements: Measurements) -> list[Check]:
        """All that is asserted."""
        mild = [v for name, v in measurements.items() if name.startswith("mild-")]
        chance = [v for name, v in measurements.items() if "-permuted" in name]
        judged = [
            (curve, measure)
            for curve in curves_of(config)
            for measure in MEASURES
            if not (curve.name == "imbalance" and measure == "rand_index")
        ]
        level = 1 - (1 - config.confidence) / len(judged)
        return [
            mild_check(np.array([float(v["f1"]) for v in mild]), config.least_f1,
                       config.confidence),
            chance_check(sum(int(v["support"]) > 0 for v in chance), len(chance),
                         config.most_false, config.confidence),
            *(
                curve_check(curve, measure, values_of(config, measurements, curve, measure), level)
                for curve, measure in judged
            ),
        ]  # fmt: skip

    def draw(self, config: NoisyDataConfig, measurements: Measurements, verdict: Verdict) -> Figure:
        """See `noisy_data_figure`."""
        from sparsejax.claims.noisy_data_figure import draw

        return draw(config, curves_of(config), verdict)

    def table(
        self, config: NoisyDataConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """A row a curve and level; the mild corruption first."""

        def row(name: str, level: str, cell: str) -> dict[str, Any]:
            some = [v for trial, v in measurements.items() if trial.startswith(f"{cell}-target")]
            shown = [v for trial, v in measurements.items() if trial.startswith(f"{cell}-perm")]
            means = {
                field: bounded_mean_interval(
                    np.array([float(v[field]) for v in some]),
                    config.confidence,
                    bounds=MEASURES.get(field, (0.0, 1.0)),
                )
                for field in ("f1", "precision", "recall", "rand_index")
            }
            false = sum(int(v["support"]) > 0 for v in shown)
            return {
                "corruption": name,
                "level": level,
                "rows": int(np.mean([v["rows"] for v in some])),
                "targets": len(some),
                "F1 of support": with_interval(*means["f1"]),
                "precision": with_interval(*means["precision"]),
                "recall": with_interval(*means["recall"]),
                "Rand index of groups": with_interval(*means["rand_index"]),
                "permuted, seen in": "{} of {} [{:.2f}, {:.2f}]".format(
                    false, len(shown), *clopper_pearson(false, len(shown), config.confidence)
                )
                if shown
                else "-",
            }

        mild = f"noise {config.mild_noise:g}, missing {config.mild_missing:g}"
        rows = [row("mild", mild, "mild")]
        for curve in curves_of(config):
            rows += [
                row(curve.name, f"{level:g}", cell)
                for level, cell in zip(curve.levels, curve.cells, strict=True)
            ]
        return rows


def _trial(name: str, number: int, how: Spoiling, *, permuted: bool = False) -> Trial:
    spoiling = dataclasses.asdict(how)
    return Trial(name, {"number": number, "spoiling": spoiling, "permuted": permuted})


CLAIM = NoisyData()
