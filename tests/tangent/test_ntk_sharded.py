"""Rows of the kernel over eight devices: the same numbers as on one."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
import sparsejax as sj

jax.config.update("jax_enable_x64", True)
assert jax.device_count() == 8
mesh = jax.make_mesh((8,), ("rows",))
module = sj.graphs.mlp(inputs=3, hidden=2, outputs=2)
lift = sj.random_sparse_lift(jax.random.key(0), module, 16, 2)
params = lift.init(jax.random.key(1))
x = jax.random.normal(jax.random.key(2), (21, 3))  # no multiple of 8
for x2 in (None, x[:5] + 1.0):
    for method in ("jacobian", "layerwise"):
        whole = sj.ntk(lift.apply, params, x, x2, outputs="full", method=method)
        rows = sj.ntk(lift.apply, params, x, x2, outputs="full", method=method, mesh=mesh, chunk=2)
        assert rows.shape == whole.shape
        np.testing.assert_allclose(rows, whole, rtol=1e-12, atol=1e-13)
rows = jax.jit(lambda p, x: sj.ntk(lift.apply, p, x, mesh=mesh))(params, x[:16])
assert len({shard.device for shard in rows.addressable_shards}) == 8
assert {shard.data.shape for shard in rows.addressable_shards} == {(2, 16)}
"""


@pytest.mark.slow
def test_rows_over_devices():
    """In a process of its own: the number of devices is fixed when JAX starts."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=True,
    )
