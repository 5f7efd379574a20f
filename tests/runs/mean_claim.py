"""A small claim for the tests of running: means of random numbers come near one half.

As a script it is the `sparsejax` command with this claim added; the environment variable
MEAN_CLAIM_STALL names a trial that writes a file of its name there and then never ends.
"""

import math
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np

from sparsejax.bounds.verdict import Verdict
from sparsejax.claims.claim import Trial


@dataclass(frozen=True)
class MeanConfig:
    """The setting of the mean claim."""

    sizes: tuple[int, ...] = (10, 1000)
    """Samples a mean."""
    seeds: int = 2
    """Means a size."""
    tolerance: float = 0.4
    """How near is near."""
    shift: float = 0.0
    """Added to every sample."""
    budget: float = 0.01
    """What the sampling error is said to be."""
    level: float | None = None
    """Unused; here for its type."""
    law: Literal["uniform", "cauchy"] = "uniform"
    """Of the samples; the claim is about laws that have a mean."""
    centred: bool = True
    """Unused; here for its type."""


class MeanClaim:
    name = "mean-near-half"
    statement = "Means of uniform numbers come near one half."
    source = "The law of large numbers <1713>"
    Config = MeanConfig

    def __init__(self):
        self.measured = []

    def validate(self, config):
        if not config.sizes or min(config.sizes) < 1:
            raise ValueError(f"sizes: {config.sizes} should be one or more positive numbers")

    def control(self, config):
        return replace(config, shift=config.shift + 1.0)

    def trials(self, config):
        return [
            Trial(f"size{size:04d}-seed{seed}", {"size": size, "seed": seed})
            for size in config.sizes
            for seed in range(config.seeds)
        ]

    def measure(self, config, trial):
        stall = os.environ.get("MEAN_CLAIM_STALL")
        if stall and Path(stall).name == trial.name:
            Path(stall).touch()
            time.sleep(600)
        self.measured.append(trial.name)
        samples = np.random.default_rng(trial.parameters["seed"]).random(trial.parameters["size"])
        return {"samples": samples + config.shift, "mean": np.mean(samples) + config.shift}

    def judge(self, config, measurements):
        means = {name: float(arrays["mean"]) for name, arrays in measurements.items()}
        margin = config.tolerance - max(abs(mean - 0.5) for mean in means.values())
        if config.law == "cauchy":
            status = "not_applicable"
        elif abs(margin) <= config.budget:
            status = "inconclusive"
        else:
            status = "holds" if margin > 0 else "violated"
        return Verdict(
            status,
            vacuous=math.isinf(config.tolerance),
            margin=margin,
            error_budget={"sampling": config.budget},
            reason="The farthest mean decides.",
            summary={"means": means, "order": list(means), "worst": np.float64(margin)},
        )

    def draw(self, config, measurements, verdict):
        figure, axes = plt.subplots(figsize=(3, 2))
        axes.plot(list(verdict.summary["means"].values()), "o")
        return figure

    def table(self, config, measurements, verdict):
        return [{"trial": name, "mean": mean} for name, mean in verdict.summary["means"].items()]


CLAIM = MeanClaim()

if __name__ == "__main__":
    from sparsejax.claims.registry import CLAIMS
    from sparsejax.cli import main

    CLAIMS.register(CLAIM)
    sys.exit(main())
