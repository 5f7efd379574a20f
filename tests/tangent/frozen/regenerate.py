"""Write the reference arrays of neural-tangents 0.6.5, which runs on no JAX from 0.6 on.

In a virtual environment of its own, Python 3.11:

    pip install "numpy<2" "scipy<1.13" ml_dtypes==0.4.1 opt_einsum frozendict absl-py \
        typing_extensions
    pip install --no-deps jax==0.4.25 jaxlib==0.4.25 neural-tangents==0.6.5
    python regenerate.py

Weights, points and targets are drawn by NumPy and stored beside the results, so that the files say
all that a comparison needs. Kernels of neural-tangents divide by the size of traced axes.
"""

import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
# It needs packages for nothing that is used here.
sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")

import neural_tangents as nt  # noqa: E402

HERE = Path(__file__).parent


def perceptron(params, x):
    h = jnp.tanh(x @ params["w1"] + params["b1"])
    h = jnp.maximum(h @ params["w2"] + params["b2"], 0)
    return h @ params["w3"] + params["b3"]


def convolutional(params, x):
    """Outputs (n, 4, 4, 2): an image of two channels."""
    axes = ("NHWC", "HWIO", "NHWC")
    h = jax.lax.conv_general_dilated(x, params["k1"], (1, 1), "SAME", dimension_numbers=axes)
    h = jnp.tanh(h + params["b1"])
    return jax.lax.conv_general_dilated(h, params["k2"], (1, 1), "SAME", dimension_numbers=axes)


def drawn(rng, shapes):
    return {
        name: jnp.asarray(rng.normal(size=s) / np.sqrt(np.prod(s[:-1])))
        for name, s in shapes.items()
    }


def kernel(f, x, x2, params, **axes):
    """The same by all three of its implementations, to the last digits."""
    found = [
        np.asarray(nt.empirical_ntk_fn(f, implementation=implementation, **axes)(x, x2, params))
        for implementation in nt.NtkImplementation
        if implementation != nt.NtkImplementation.AUTO
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-10, atol=1e-12)
    return found[0]


def write(name, **arrays):
    np.savez_compressed(HERE / f"{name}.npz", **arrays)


def main():
    rng = np.random.default_rng(2022)
    shapes = {"w1": (3, 8), "b1": (8,), "w2": (8, 6), "b2": (6,), "w3": (6, 2), "b3": (2,)}
    params = drawn(rng, shapes)
    x, x2 = rng.normal(size=(5, 3)), rng.normal(size=(3, 3))
    moved = {name: leaf + 0.3 * rng.normal(size=leaf.shape) for name, leaf in params.items()}
    y = rng.normal(size=(5, 2))
    f0, g0 = perceptron(params, x), perceptron(params, x2)
    train = kernel(perceptron, x, None, params, trace_axes=())
    test = kernel(perceptron, x2, x, params, trace_axes=())
    predict = nt.predict.gradient_descent_mse(train, y, trace_axes=())
    ts = np.array([0.0, 0.5, 2.0, 20.0])
    fx, gx = predict(t=ts, fx_train_0=f0, fx_test_0=g0, k_test_train=test)
    limit_fx, limit_gx = predict(t=None, fx_train_0=f0, fx_test_0=g0, k_test_train=test)
    write(
        "perceptron",
        **{f"params_{name}": leaf for name, leaf in params.items()},
        **{f"moved_{name}": leaf for name, leaf in moved.items()},
        x=x,
        x2=x2,
        y=y,
        outputs=f0,
        traced=kernel(perceptron, x, None, params, trace_axes=(-1,)),
        traced_two=kernel(perceptron, x, x2, params, trace_axes=(-1,)),
        full=train,
        full_two=kernel(perceptron, x, x2, params, trace_axes=()),
        diagonal=kernel(perceptron, x, None, params, trace_axes=(), diagonal_axes=(-1,)),
        linearised=nt.linearize(perceptron, params)(moved, x),
        taylor2=nt.taylor_expand(perceptron, params, 2)(moved, x),
        mse_times=ts,
        mse_train=fx,
        mse_test=gx,
        mse_train_limit=limit_fx,
        mse_test_limit=limit_gx,
    )
    params = drawn(rng, {"k1": (3, 3, 1, 3), "b1": (3,), "k2": (2, 2, 3, 2)})
    x, x2 = rng.normal(size=(3, 4, 4, 1)), rng.normal(size=(2, 4, 4, 1))
    write(
        "convolutional",
        **{f"params_{name}": leaf for name, leaf in params.items()},
        x=x,
        x2=x2,
        traced_all=kernel(convolutional, x, None, params, trace_axes=(1, 2, 3)),
        traced_space_two=kernel(convolutional, x, x2, params, trace_axes=(1, 2)),
        traced_channels_diagonal_rows=kernel(
            convolutional, x, x2, params, trace_axes=(3,), diagonal_axes=(1,)
        ),
        full_two=kernel(convolutional, x[:1], x2[:1], params, trace_axes=()),
    )


if __name__ == "__main__":
    main()
