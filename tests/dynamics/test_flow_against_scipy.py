"""A small lift at tight tolerance against the implicit and the multistep methods of SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
from jax.flatten_util import ravel_pytree

import sparsejax as sj


def test_a_lift_flows_as_lsoda_and_radau_say():
    key = jax.random.key(3)
    x = jax.random.normal(key, (12, 2))
    lift = sj.random_sparse_lift(
        key, sj.graphs.mlp(inputs=2, hidden=2, outputs=1), sizes=4, in_degree=2
    )
    loss = sj.squared_loss(lift.apply, x, jnp.sin(2 * x[:, :1]) * x[:, 1:])
    params = lift.init(key)
    ts = np.linspace(0, 30, 7)
    flow = sj.gradient_flow(loss, params, 30.0, saveat=ts, rtol=1e-9)
    assert flow.stats["solver"] == "rkc4" and flow.status == "completed" and flow.warnings == ()
    theta, unravel = ravel_pytree(params)
    found = jax.vmap(lambda p: ravel_pytree(p)[0])(flow.params)
    flat = jax.jit(jax.value_and_grad(lambda v: loss(unravel(v))))
    hessian = jax.jit(jax.hessian(lambda v: loss(unravel(v))))
    for method in ("LSODA", "Radau"):
        expected = scipy.integrate.solve_ivp(
            lambda t, v: -np.asarray(flat(v)[1]),
            (0, 30),
            np.asarray(theta),
            method=method,
            t_eval=ts,
            rtol=1e-10,
            atol=1e-11,
            jac=lambda t, v: -np.asarray(hessian(v)),
        ).y.T
        assert np.abs(expected[-1] - expected[0]).max() > 0.3, "nothing moved: nothing was tested"
        np.testing.assert_allclose(found, expected, atol=2e-7)
        np.testing.assert_allclose(
            flow.losses, [float(flat(jnp.asarray(v))[0]) for v in expected], atol=1e-7
        )
