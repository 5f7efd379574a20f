"""Which integrator a flow takes by itself, and what it says of tolerances: nothing is computed."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.dynamics.flow_method import ADAPTIVE, TIGHT, flow_method
from sparsejax.dynamics.solvers import RKC2, RKC4, ROCK2
from sparsejax.dynamics.trajectory import STATUSES, Trajectory


@pytest.mark.parametrize(
    "rtol, solver, name, word",
    [
        (1e-3, RKC2(), "rkc2", "second order"),
        (TIGHT, RKC2(), "rkc2", "second order"),
        (0.5 * TIGHT, RKC4(), "rkc4", "fourth order"),
    ],
)
def test_the_default_follows_the_tolerance_and_says_why(rtol, solver, name, word):
    method = flow_method(None, rtol, None, jnp.float64)
    described = dict(method.description)
    assert method.solver == solver and described["solver"] == name
    assert "stabilised" in described["why"] and word in described["why"]
    assert method.atol == described["atol"] == described["rtol"] == rtol
    assert "notes" not in described


def test_a_solver_that_is_asked_for_is_taken():
    assert ADAPTIVE["rock2"]() == ROCK2() and ADAPTIVE["kvaerno5"]() == diffrax.Kvaerno5()
    for asked in ("rock2", "rock4", "rkc4", "bosh3"):
        method = flow_method(asked, 1e-9, 1e-5, jnp.float64)
        assert dict(method.description)["solver"] == asked
        assert dict(method.description)["why"] == "asked for" and method.atol == 1e-5
    own = flow_method(RKC2(max_stages=20), 1e-3, None, jnp.float64)
    assert own.solver.max_stages == 20 and dict(own.description)["solver"] == "RKC2"
    with pytest.raises(ValueError, match="unknown solver 'rkc'; known are rkc2, rock2, rock4"):
        flow_method("rkc", 1e-3, None, jnp.float64)


def trajectory(method, **counts):
    one = jnp.zeros(1)
    return Trajectory(
        ts=one,
        params=one,
        losses=one,
        grad_norms=one,
        path_lengths=one,
        dissipation=one,
        probes={},
        status_code=jnp.asarray(0),
        status_time=jnp.asarray(0.0),
        counts={name: jnp.asarray(value) for name, value in counts.items()},
        method=method,
    )


def test_a_tolerance_below_the_resolution_is_raised_and_said():
    method = flow_method(None, 1e-9, None, jnp.float32)
    assert method.rtol == method.atol == 16 * np.finfo(np.float32).eps
    # At the tolerance that is used, the second-order method is the one to take.
    assert dict(method.description)["solver"] == "rkc2"
    (warning,) = trajectory(method.description).warnings
    assert "rtol=1e-09 is below what float32 resolves: integrated at 1.9e-06" in warning
    assert trajectory(flow_method(None, 1e-5, None, jnp.float32).description).warnings == ()


@pytest.mark.parametrize(
    "rtol, error, warned",
    [(1e-8, 5e-6, False), (1e-8, 5e-5, True), (1e-2, 5e-3, False), (1e-2, 0.02, True)],
)
def test_a_broken_energy_identity_is_never_silent(rtol, error, warned):
    found = trajectory((("rtol", rtol),), energy_error=error).warnings
    assert len(found) == warned
    assert not warned or f"the energy identity is off by {error:.2g}" in found[0]
    # In an ensemble, that of the worst lane.
    lanes = trajectory((("rtol", rtol),), energy_error=[0.0, error]).warnings
    assert lanes == found


def test_every_ending_has_a_name_of_its_own():
    assert len(set(STATUSES)) == len(STATUSES) == 10
    codes = jnp.arange(len(STATUSES))
    assert [str(name) for name in np.asarray(STATUSES)[codes]] == list(STATUSES)
