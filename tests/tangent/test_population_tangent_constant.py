"""The tangent constant of a distribution: closed form, coverage, and no credit for overfitting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj

TRUE = np.array([3.0, -2.0, 1.0])
NOISE = 0.5


def linear(w, x):
    return x @ w


def sample(key, n):
    """Isotropic inputs, so that `K = I` on linear functions; noise that no step can fit."""
    first, second = jax.random.split(key)
    x = jax.random.normal(first, (n, 3))
    return x, x @ jnp.asarray(TRUE) + NOISE * jax.random.normal(second, (n,))


def exact(eps):
    """`E ||r + J u||^2 = ||u - TRUE||^2 + NOISE^2`: the shortest step goes straight to TRUE."""
    return np.linalg.norm(TRUE) - np.sqrt(eps - NOISE**2)


@pytest.mark.slow
def test_covers_the_closed_form_and_is_not_wide():
    covered, widths = 0, []
    for seed in range(6):
        found = sj.tangent.population_tangent_constant(
            linear, jnp.zeros(3), sample, 2.0, jax.random.key(seed), batches=8, batch_size=400
        )
        assert found.status == "bounded" and found.misfits.shape[1] == 8
        covered += found.lower <= exact(2.0) <= found.upper
        widths.append(found.upper / found.lower)
        assert np.linalg.norm(found.direction) == pytest.approx(found.upper)
    assert covered >= 5  # at 95 per cent, 4 of 6 or fewer has probability 0.03
    assert np.median(widths) < 1.3


def test_a_step_that_overfits_its_pilot_is_not_taken():
    """Twelve samples in the pilot: what attains eps there often does not for the population."""
    attained = 0
    for seed in range(6):
        found = sj.tangent.population_tangent_constant(
            linear,
            jnp.zeros(3),
            sample,
            2.0,
            jax.random.key(seed),
            batches=8,
            batch_size=400,
            pilot_size=12,
        )
        misfit = np.sum((np.asarray(found.direction) - TRUE) ** 2) + NOISE**2
        attained += found.upper == np.inf or misfit <= 2.0
    assert attained >= 5


def test_a_level_below_the_noise_is_not_attained_however_well_a_batch_can_be_fitted():
    """Two samples, three parameters: every batch alone has a finite constant at any eps."""
    few = {"batches": 8, "batch_size": 2, "pilot_size": 2}
    x, y = sample(jax.random.key(0), 2)
    assert np.isfinite(sj.tangent_constant(linear, jnp.zeros(3), x, y, 0.1))
    found = sj.tangent.population_tangent_constant(
        linear, jnp.zeros(3), sample, 0.1, jax.random.key(0), **few
    )
    assert found.status == "unbounded" and found.upper == np.inf
    assert not np.any(found.direction)


def test_bad_input_is_refused():
    for bad in ({"batches": 1}, {"level": 1.0}, {"margins": (1.5,)}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="needed|must"):
            sj.tangent.population_tangent_constant(
                linear, jnp.zeros(3), sample, 1.0, jax.random.key(0), **bad
            )
