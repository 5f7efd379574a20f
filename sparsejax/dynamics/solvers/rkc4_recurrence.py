"""The recurrence under every member of the RKC4 family, and the family's stored coefficients."""

import functools
import importlib.resources
import json
from typing import NamedTuple

import numpy as np

DAMPING = 18.0  # of w0: the stages then end near t_n + 0.8 h


class Chebyshev(NamedTuple):
    """`E_{k+1} - E_k = nu_k (E_k - E_{k-1}) + m_k Z_k`, k = 0..s-1, stable on the interval."""

    nu: np.ndarray
    m: np.ndarray
    interval: float


class Member(NamedTuple):
    """The coefficients of one stage count: arrays whose last axis is k = 1..s (v: 1..m)."""

    rho: np.ndarray
    beta: np.ndarray
    kappa: np.ndarray
    v: np.ndarray
    delta: np.ndarray


def chebyshev(stages: int) -> Chebyshev:
    """The recurrence of a member, from its stage count alone."""
    interval = 0.92 * (0.353 * stages**2 - 3)
    w0 = 1 + DAMPING / stages**2
    w1 = (1 + w0) / interval
    t = np.polynomial.chebyshev.chebvander(np.array(w0), stages).ravel()
    nu = np.concatenate([[0.0], t[:-2] / t[2:]])
    m = np.concatenate([[w1 / w0], 2 * w1 * t[1:-1] / t[2:]])
    return Chebyshev(nu, m, interval)


def taylor(basis: Chebyshev, count: int = 5) -> np.ndarray:
    """Coefficients of `z^0, ..., z^(count-1)` in `E_k` (s, count)."""
    stages, increment, difference = [], np.zeros(count), np.zeros(count)
    for nu, m in zip(basis.nu, basis.m, strict=True):
        difference = nu * difference
        difference[1:] += m * increment[:-1]
        difference[1] += m
        increment = increment + difference
        stages.append(increment)
    return np.array(stages)


@functools.lru_cache
def rkc4_members() -> dict[int, Member]:
    """The stored coefficients, by stage count: every count from 5 to 26, then by 4 to 10%."""
    resource = importlib.resources.files(__package__).joinpath("rkc4_parameters.json")
    members = {}
    for stored in json.loads(resource.read_text()):
        fields = {name: np.array(stored[name]) for name in Member._fields}
        fields["kappa"] = np.concatenate([np.zeros(len(fields["v"])), fields["kappa"]])
        members[stored["stages"]] = Member(**fields)
    return members
