"""The installed JAX computes what it is asked to: one release did not."""

import importlib.metadata
import os
import subprocess
import sys

import jax
import pytest

from sparsejax import compatibility

REPRODUCTION = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
rows = np.random.default_rng(0).normal(size=(20_000, 3))
matrix = np.random.default_rng(1).normal(size=(3, 3))
expected = ((rows @ matrix.T) ** 2).sum(axis=1)
norms = lambda rows, matrix: jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2))(rows)
for squared_norms in (norms, jax.jit(norms)):
    computed = np.asarray(squared_norms(jnp.asarray(rows), jnp.asarray(matrix)))
    print(int(np.sum(~np.isclose(computed, expected, rtol=1e-10, atol=0.0))))
"""


def test_a_vmapped_matrix_product_is_what_numpy_says():
    # In a process of its own: there the compiler optimises, as it does for users.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", REPRODUCTION],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["0", "0"], (
        f"{done.stdout.split()} of 20000 rows are wrong: jax {jax.__version__} miscompiles on this "
        "machine (known of jax 0.10.2 on CPU, jax issue 39103); no result of this installation "
        "counts"
    )


@pytest.mark.parametrize("package", ["jax", "jaxlib"])
def test_the_miscompiling_release_is_refused_by_name(monkeypatch, package):
    monkeypatch.setattr(
        compatibility, "version", lambda name: "0.10.2" if name == package else "0.10.1"
    )
    with pytest.raises(ImportError, match=rf"{package} 0\.10\.2 silently miscompiles"):
        compatibility.refuse_miscompiling_jax()


def test_other_releases_and_absent_packages_are_not_refused(monkeypatch):
    compatibility.refuse_miscompiling_jax()

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(compatibility, "version", absent)
    compatibility.refuse_miscompiling_jax()
