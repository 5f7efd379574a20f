"""Summaries and drift of kernels whose values are known, and probes along a real flow."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import tangent


def rotation(angle, size=6):
    """Turns the second axis into the fourth."""
    turned = np.eye(size)
    turned[[1, 1, 3, 3], [1, 3, 1, 3]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    return turned


KERNEL = np.diag([9.0, 7.0, 3.0, 2.0, 1.0, 0.5])


def test_effective_ranks_of_known_spectra():
    ranks = [
        float(tangent.effective_rank(jnp.array([4.0, 2.0, 1.0, 1.0, -1e-18]), definition))
        for definition in ("trace", "participation", "entropy")
    ]
    entropy = 0.5 * np.log(2) + 0.25 * np.log(4) + 2 * 0.125 * np.log(8)
    np.testing.assert_allclose(ranks, [2.0, 64 / 22, np.exp(entropy)], rtol=1e-12)
    with pytest.raises(ValueError, match="definition is 'trace'"):
        tangent.effective_rank(jnp.ones(2), "rank")


def test_target_alignment():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(3, 2))
    kernel = KERNEL + np.outer(y, y)
    flat = y.ravel()
    by_hand = np.sum(kernel * np.outer(flat, flat)) / (np.linalg.norm(kernel) * np.sum(flat**2))
    np.testing.assert_allclose(tangent.target_alignment(jnp.asarray(kernel), y), by_hand)
    # Centred: an independent form with the centring matrix, and blind to a shift of the targets.
    centring = np.kron(np.eye(3) - 1 / 3, np.eye(2))
    middle, z = centring @ kernel @ centring, centring @ flat
    by_hand = z @ middle @ z / (np.linalg.norm(middle) * z @ z)
    for shifted in (y, y + np.array([5.0, -3.0])):
        found = tangent.target_alignment(jnp.asarray(kernel), shifted, centred=True)
        np.testing.assert_allclose(found, by_hand, rtol=1e-12)
    with pytest.raises(ValueError, match=r"4 targets need \(4, 4\)"):
        tangent.target_alignment(jnp.asarray(kernel), np.ones(4))


def test_residual_shares():
    turned = jnp.asarray(rotation(0.3))
    r = 3 * turned[:, 0] + 4 * turned[:, 3]
    shares = tangent.residual_shares(turned.reshape(3, 2, 6), r.reshape(3, 2))
    np.testing.assert_allclose(shares, [0.36, 0.36, 0.36, 1, 1, 1], rtol=1e-12)
    with pytest.raises(ValueError, match="6 entries, the residual 4"):
        tangent.residual_shares(turned, jnp.ones(4))


@pytest.mark.parametrize("angle", [1e-10, 0.3, 1.5])
def test_drift_of_known_kernels(angle):
    scaled = tangent.kernel_drift(jnp.asarray(KERNEL), jnp.asarray(3 * KERNEL), top=2)
    np.testing.assert_allclose(scaled.relative_change, 2, rtol=1e-12)
    np.testing.assert_allclose(scaled.alignment, 1, rtol=1e-12)
    np.testing.assert_allclose(scaled.rotation, 0, atol=1e-12)
    turned = rotation(angle)
    other = turned @ KERNEL @ turned.T
    found = tangent.kernel_drift(jnp.asarray(KERNEL), jnp.asarray(other), top=2)
    np.testing.assert_allclose(found.rotation, angle, rtol=1e-4)
    change = np.linalg.norm(other - KERNEL) / np.linalg.norm(KERNEL)
    np.testing.assert_allclose(found.relative_change, change, rtol=1e-12)
    # The leading axis itself has not moved.
    alone = tangent.kernel_drift(jnp.asarray(KERNEL), jnp.asarray(other), top=1)
    np.testing.assert_allclose(alone.rotation, 0, atol=1e-12)


def test_bad_kernels_are_refused():
    eye = jnp.eye(3)
    with pytest.raises(ValueError, match="do not compare"):
        inspect.unwrap(tangent.kernel_drift)(eye, jnp.eye(2))
    with pytest.raises(ValueError, match=r"top must lie in \[1, 3\]"):
        tangent.kernel_drift(eye, eye, top=4)
    for change, said in [
        ({"top": 4}, r"top must lie in \[1, 3\]"),
        ({"top": 1, "eps": [-1.0]}, "eps must not be negative"),
        ({"top": 1, "reference": jnp.eye(2)}, r"reference has shape \(2, 2\)"),
    ]:
        with pytest.raises(ValueError, match=said):
            tangent.KernelProbe(lambda w, x: x @ w, jnp.ones((3, 2)), jnp.ones(3), **change)
    with pytest.raises(ValueError, match="samples must be positive"):
        tangent.LanczosProbe(lambda w, x: x, jnp.ones((3, 2)), jax.random.key(0), samples=0)


@pytest.mark.slow
def test_probes_along_a_flow_are_the_values_computed_afterwards():
    rng = np.random.default_rng(0)
    x, y = jnp.asarray(rng.normal(size=(7, 3))), jnp.asarray(rng.normal(size=(7, 1)))
    params = {"a": jnp.asarray(rng.normal(size=(3, 5))), "b": jnp.asarray(rng.normal(size=(5, 1)))}

    def f(p, x):
        return jnp.tanh(x @ p["a"]) @ p["b"]

    eps = [0.1, 0.3]
    _, start = tangent.residual_and_kernel(f, params, x, y)
    kernel_probe = tangent.KernelProbe(f, x, y, reference=start, top=2, eps=eps)
    lanczos_probe = tangent.LanczosProbe(f, x, jax.random.key(2), count=2, samples=4)
    flow = sj.gradient_flow(
        sj.squared_loss(f, x, y),
        params,
        3.0,
        saveat=np.array([0.0, 1.0, 3.0]),
        solver="euler",
        dt=0.01,
        probes={"kernel": kernel_probe, "lanczos": lanczos_probe},
    )
    found, lanczos = flow.probes["kernel"], flow.probes["lanczos"]
    assert found.drift.relative_change[0] == 0 < found.drift.relative_change[2]
    at = flow.at(2)
    residual, kernel = tangent.residual_and_kernel(f, at, x, y)
    spectrum = tangent.kernel_spectrum(f, at, x)
    w = np.asarray(spectrum.eigenvalues)
    drift = tangent.kernel_drift(start, kernel, top=2)
    shares = tangent.residual_shares(spectrum.eigenvectors, residual)
    afterwards = {
        "largest": (found.largest[2], w[:2]),
        "smallest": (found.smallest[2], w[-1]),
        "trace": (found.trace[2], w.sum()),
        "alignment": (found.alignment[2], tangent.target_alignment(kernel, y)),
        "shares": (found.residual_share[2], shares[:2]),
        "change": (found.drift.relative_change[2], drift.relative_change),
        "cosine": (found.drift.alignment[2], drift.alignment),
        "rotation": (found.drift.rotation[2], drift.rotation),
        "kappas": (found.kappas[2], [sj.tangent_constant(f, at, x, y, e) for e in eps]),
        "lanczos largest": (lanczos.largest[2], w[:2]),
        "lanczos smallest": (lanczos.smallest[2], w[-1:]),
    }
    for name, values in found.effective_ranks.items():
        afterwards[name] = (values[2], tangent.effective_rank(spectrum.eigenvalues, name))
    for name, (probed, later) in afterwards.items():
        np.testing.assert_allclose(probed, later, rtol=1e-7, err_msg=name)
    assert lanczos.converged.all()
    # With signs the trace is exact up to the off-diagonal part, which four vectors average.
    deviation = np.sqrt(2 * (np.sum(kernel**2) - np.sum(np.diag(kernel) ** 2)) / 4)
    assert abs(lanczos.trace.value[2] - w.sum()) < 4 * deviation


def test_a_probe_is_traced_once():
    x, y = jnp.ones((3, 2)), jnp.ones((3, 1))
    traces = []

    def f(w, x):
        traces.append(1)
        return x @ w

    probe = tangent.KernelProbe(f, x, y, top=1, eps=[0.5])

    @eqx.filter_jit
    def record(probe, params):
        return probe(jnp.asarray(0.0), params)

    record(probe, jnp.ones((2, 1)))
    count = len(traces)
    # Other data and levels are leaves.
    other = tangent.KernelProbe(f, 2 * x, y, top=1, eps=[0.7])
    record(other, 3 * jnp.ones((2, 1)))
    assert len(traces) == count
