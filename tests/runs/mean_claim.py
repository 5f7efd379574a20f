"""A small claim for the tests of running: means of random numbers come near one half.

As a script it is the `sparsejax` command with these claims added. Environment variables:
MEAN_CLAIM_STALL names a trial that writes a file of its name there and then never ends,
MEAN_CLAIM_FAIL one that fails, MEAN_CLAIM_HEARTBEAT the seconds after which a silent process counts
as dead.
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
        if os.environ.get("MEAN_CLAIM_FAIL") == trial.name:
            raise ArithmeticError("the trial that fails")
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


class BatchedMeanClaim(MeanClaim):
    """The same, measured by size, three at most together."""

    name = "batched-mean-near-half"
    presets = {"quick": MeanConfig(sizes=(10,), seeds=3), "strict": MeanConfig(tolerance=0.01)}

    def __init__(self):
        super().__init__()
        self.together = []

    def batches(self, config, trials):
        sizes = {trial.parameters["size"]: [] for trial in trials}
        for trial in trials:
            sizes[trial.parameters["size"]].append(trial)
        return [at[k : k + 3] for at in sizes.values() for k in range(0, len(at), 3)]

    def measure_batch(self, config, trials):
        self.together.append([trial.name for trial in trials])
        return [self.measure(config, trial) for trial in trials]


class SequentialMeanClaim(MeanClaim):
    """The same, with two more means at a time until there are sixteen."""

    name = "sequential-mean-near-half"

    def more_trials(self, config, measurements):
        drawn = len(measurements)
        size = config.sizes[-1]
        return [
            Trial(f"size{size:04d}-more{k}", {"size": size, "seed": k})
            for k in range(drawn, min(drawn + 2, 16))
        ]


class SharedMeanClaim(BatchedMeanClaim, SequentialMeanClaim):
    """Both, and each trial tells of the device on which its process computes."""

    name = "shared-mean-near-half"

    def measure(self, config, trial):
        import jax

        (device,) = jax.numpy.zeros(3).devices()
        arrays = super().measure(config, trial)
        return arrays | {"process": device.process_index, "devices": jax.local_device_count()}


CLAIM = MeanClaim()

if __name__ == "__main__":
    from sparsejax.claims.registry import CLAIMS
    from sparsejax.cli import main

    for claim in (CLAIM, BatchedMeanClaim(), SharedMeanClaim()):
        CLAIMS.register(claim)
    if "MEAN_CLAIM_HEARTBEAT" in os.environ:
        from sparsejax.runs import processes

        processes.HEARTBEAT_TIMEOUT = int(os.environ["MEAN_CLAIM_HEARTBEAT"])
    sys.exit(main())
