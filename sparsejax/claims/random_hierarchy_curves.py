"""What runs on random hierarchies gave: curves of each setting, and the claim's parts."""

from typing import Any

import numpy as np

from sparsejax.claims.claim import Measurements
from sparsejax.claims.hierarchy_languages import chance, samples_to_level
from sparsejax.claims.scaling import Collapse, HittingExponent, collapse, hitting_exponent
from sparsejax.claims.statistics import mean_interval
from sparsejax.targets import HierarchySizes

DEEP, SHALLOW = "deep", "shallow"


def settings(config: Any) -> list[HierarchySizes]:
    """The sizes of all settings."""
    return [
        HierarchySizes(v, m, depth)
        for v, m, depth in zip(config.symbols, config.synonyms, config.levels, strict=True)
    ]


def named(of: HierarchySizes) -> str:
    """A setting in a trial's name."""
    return f"v{of.symbols}-m{of.synonyms}-L{of.levels}"


def ladder(config: Any, of: HierarchySizes) -> list[int]:
    """Numbers of samples of a setting."""
    return [round(share * of.p_star) for share in config.samples_over_p_star]


def curves(config: Any, measurements: Measurements) -> dict[str, dict[str, Any]]:
    """What was measured, by setting: errors over chance `(runs of all languages, ladder)`."""
    found: dict[str, dict[str, Any]] = {}
    for of in settings(config):
        samples = ladder(config, of)

        def gathered(depth: str, key: str, of=of, samples=samples) -> np.ndarray:
            rows = [
                [
                    measurements[f"{named(of)}-{depth}-p{p:06d}-language{number:02d}"][key]
                    for p in samples
                ]
                for number in range(config.languages)
            ]
            # Languages, ladder, runs (and levels) to runs of all languages, ladder.
            stacked: np.ndarray = np.moveaxis(np.array(rows), 2, 1)
            return stacked.reshape(-1, *stacked.shape[2:])

        errors = {d: gathered(d, "error") / chance(of) for d in (DEEP, SHALLOW)}
        sensitivity = {d: gathered(d, "sensitivity") for d in (DEEP, SHALLOW)}
        x = np.array(samples, float)
        first = f"{named(of)}-{DEEP}-p{samples[0]:06d}-language"
        found[named(of)] = {
            "p_star": of.p_star,
            "p_max": of.p_max,
            "samples": x,
            "errors": errors,
            "sensitivity": sensitivity,
            "times": {
                d: np.array([samples_to_level(x, row, config.level) for row in errors[d]])
                for d in errors
            },
            "half": np.array([samples_to_level(x, row, 0.5) for row in sensitivity[DEEP][..., 0]]),
            "gap": (errors[SHALLOW] - errors[DEEP]).mean(axis=1),
            "fall": sensitivity[DEEP][:, 0, 0] - sensitivity[DEEP][:, -1, 0],
            "failed": sum(int(gathered(d, "failed").sum()) for d in errors),
            "crossing": np.array(
                [
                    measurements[f"{first}{number:02d}"]["crossing"] / of.p_star
                    for number in range(config.languages)
                ]
            ),
        }
    return found


def summarised(config: Any, measurements: Measurements) -> dict[str, Any]:
    """The parts of the claim with their intervals."""
    found = curves(config, measurements)
    scales = [float(entry[config.scale]) for entry in found.values()]

    def by_language(values: np.ndarray) -> np.ndarray:
        # Runs of one language share its rules: what is independent are the languages.
        return values.reshape(config.languages, -1, *values.shape[1:]).mean(axis=1)

    errors = [by_language(entry["errors"][DEEP]) for entry in found.values()]
    ladders = [entry["samples"] for entry in found.values()]
    fell: Collapse = collapse(
        ladders,
        errors,
        scales,
        tolerance=config.tolerance,
        confidence=config.confidence,
        rng=np.random.default_rng(config.seed),
    )
    exponent: HittingExponent = hitting_exponent(
        scales,
        [
            np.array([samples_to_level(x, row, config.level) for row in rows])
            for x, rows in zip(ladders, errors, strict=True)
        ],
        [float(entry["samples"][-1]) for entry in found.values()],
        predicted=1.0,
        tolerance=config.exponent_tolerance,
        confidence=config.confidence,
        rng=np.random.default_rng(config.seed),
    )

    # For all settings together: the one that is nearest to missing decides.
    level = 1 - (1 - config.confidence) / len(found)

    def least(key: str) -> tuple[float, float, float]:
        rows = [mean_interval(by_language(entry[key]), level) for entry in found.values()]
        return min(rows, key=lambda row: row[1])

    def ratios(of) -> dict[str, float]:
        return {name: float(np.median(of(e)) / e["p_star"]) for name, e in found.items()}

    return {
        "collapse": fell,
        "exponent": exponent,
        "gap": least("gap"),
        "fall": least("fall"),
        "failed": sum(entry["failed"] for entry in found.values()),
        "ratios": ratios(lambda e: e["times"][DEEP]),
        "shallow_ratios": ratios(lambda e: e["times"][SHALLOW]),
        "sensitivity_ratios": ratios(lambda e: e["half"]),
        "crossings": {name: float(np.median(e["crossing"])) for name, e in found.items()},
        "overlap": max(float(e["samples"][-1] / e["p_max"]) for e in found.values()),
    }
