"""Flax models as pure functions, held against the same functions written out by hand."""

import sys
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import sparsejax as sj
from sparsejax.interop import flax_extra

RNG = np.random.default_rng(0)


def array(*shape):
    return jnp.asarray(RNG.normal(size=shape))


WEIGHTS = {
    "mlp": {
        "first": {"kernel": array(3, 4), "bias": array(4)},
        "last": {"kernel": array(4, 2), "bias": array(2)},
    },
    "conv": {
        "first": {"kernel": array(2, 2, 1, 2), "bias": array(2)},
        "last": {"kernel": array(8, 2), "bias": array(2)},
    },
}
X = {"mlp": array(4, 3), "conv": array(4, 3, 3, 1)}
Y = array(4, 2)
TS = np.array([0.0, 0.2])


def mlp(p, x):
    hidden = jnp.tanh(x @ p["first"]["kernel"] + p["first"]["bias"][None, :])
    return hidden @ p["last"]["kernel"] + p["last"]["bias"][None, :]


def conv(p, x):
    """A 2 x 2 filter without padding, entry by entry."""
    kernel = p["first"]["kernel"]
    patches = jnp.stack(
        [x[:, i : i + 2, j : j + 2, :].reshape(4 * x.shape[0], 1) for i in (0, 1) for j in (0, 1)]
    ).reshape(2, 2, x.shape[0], 4)
    hidden = jnp.einsum("ijnp,pc->nijc", patches, kernel.reshape(4, 2))
    hidden = jnp.tanh(hidden + p["first"]["bias"][None, None, None, :])
    return hidden.reshape(x.shape[0], 8) @ p["last"]["kernel"] + p["last"]["bias"][None, :]


class LinenModel(linen.Module):
    kind: str
    note: Callable
    widths: list  # without a hash, as users write it

    @linen.compact
    def __call__(self, x):
        self.note(x.shape)
        if self.kind == "mlp":
            first = linen.Dense(self.widths[0], param_dtype=float, name="first")
        else:
            first = linen.Conv(2, (2, 2), padding="VALID", param_dtype=float, name="first")
        hidden = jnp.tanh(first(x)).reshape(x.shape[0], -1)
        return linen.Dense(self.widths[1], param_dtype=float, name="last")(hidden)


class NnxModel(nnx.Module):
    def __init__(self, kind, traced):
        rngs, dtype = nnx.Rngs(0), {"param_dtype": float}
        if kind == "mlp":
            self.first = nnx.Linear(3, 4, rngs=rngs, **dtype)
        else:
            self.first = nnx.Conv(1, 2, (2, 2), padding="VALID", rngs=rngs, **dtype)
        self.last = nnx.Linear(4 if kind == "mlp" else 8, 2, rngs=rngs, **dtype)
        self.note = traced.append

    def __call__(self, x):
        self.note(x.shape)
        hidden = jnp.tanh(self.first(x)).reshape(x.shape[0], -1)
        return self.last(hidden)


def pure(library, kind, traced):
    if library == "linen":
        model = LinenModel(kind, traced.append, [4, 2])
        return sj.from_flax(model, {"params": WEIGHTS[kind]})
    model = NnxModel(kind, traced)
    nnx.update(model, WEIGHTS[kind])
    return sj.from_flax(model)


@eqx.filter_jit
def first_order_picture(f, params, x):
    """Kernel, tangent constant and a flow: what the other rooms make of `f`."""
    kernel = sj.ntk(f, params, x, outputs="full")
    if x.ndim == 2:
        return {"kernel": kernel}  # the images, whose model ends in such a layer, see the rest
    loss = sj.squared_loss(f, x, Y)
    flow = sj.gradient_flow(loss, params, t1=0.2, saveat=TS, solver="euler", dt=0.1)
    return {
        "kernel": kernel,
        "constant": sj.tangent_constant(f, params, x, Y, 0.5 * flow.losses[0]),
        "losses": flow.losses,
        "params": flow.final,
    }


@pytest.fixture(scope="module")
def by_hand():
    return {
        kind: first_order_picture(jax.tree_util.Partial(f), WEIGHTS[kind], X[kind])
        for kind, f in {"mlp": mlp, "conv": conv}.items()
    }


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("library", ["linen", "nnx"])
def test_every_room_takes_it_and_finds_what_it_finds_by_hand(by_hand, library, kind):
    traced: list = []
    f, params = pure(library, kind, traced)
    assert jax.tree.structure(params) == jax.tree.structure(WEIGHTS[kind])
    jax.tree.map(np.testing.assert_array_equal, params, WEIGHTS[kind])
    found = first_order_picture(f, params, X[kind])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), found, by_hand[kind]
    )
    # Other parameters, and the same model turned into a function again, compile nothing.
    before = len(traced)
    first_order_picture(f, jax.tree.map(lambda w: w / 2, params), X[kind])
    if library == "linen":
        again = sj.from_flax(f.model.value, {"params": params}).f
    else:
        again = sj.from_flax(nnx.merge(f.graphdef, params, f.rest)).f
    first_order_picture(again, params, X[kind])
    assert len(traced) == before


class LinenNormed(linen.Module):
    @linen.compact
    def __call__(self, x, train=True):
        x = linen.BatchNorm(use_running_average=not train, name="norm")(x)
        return linen.Dropout(0.5, deterministic=not train)(x)


class LinenDropout(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.Dense(3, param_dtype=float)(x)
        return linen.Dropout(0.5, deterministic=False)(x)


def norm(x):
    """With the running statistics below, scale 3 and bias 1."""
    return 1.0 + 3.0 * (x - 0.5) / np.sqrt(4.0 + 1e-5)


# Batch normalisation in Flax does not stay in float64.
ONES = jnp.asarray(np.ones(3), jnp.float32)
SAMPLES = X["mlp"].astype(jnp.float32)


def test_other_collections_are_held_fixed():
    statistics = {"norm": {"mean": 0.5 * ONES, "var": 4.0 * ONES}}
    variables = {
        "params": {"norm": {"scale": 3.0 * ONES, "bias": ONES}},
        "batch_stats": statistics,
    }
    model, x = LinenNormed(), np.asarray(SAMPLES)
    f, params = sj.from_flax(model, variables, train=False)
    assert set(params) == {"norm"}
    np.testing.assert_allclose(f(params, SAMPLES), norm(x), rtol=1e-5)
    # They are leaves: other statistics run through the same program.
    assert len(jax.tree.leaves(f)) == 2
    with pytest.raises(ValueError, match=r"LinenNormed is no function.*batch_stats.*train=False"):
        sj.from_flax(model, variables).f(params, SAMPLES)


def test_an_nnx_state_is_held_fixed():
    model = nnx.Sequential(nnx.BatchNorm(3, rngs=nnx.Rngs(0)), nnx.Dropout(0.5))
    held = model.layers[0]
    held.mean.set_value(0.5 * ONES)
    held.var.set_value(4.0 * ONES)
    held.scale.set_value(3.0 * ONES)
    held.bias.set_value(ONES)
    model.layers[1].rngs = nnx.Rngs(1).fork()
    model.eval()
    f, params = sj.from_flax(model)
    x = np.asarray(SAMPLES)
    for apply in (f, jax.jit(lambda p, x: f(p, x))):
        np.testing.assert_allclose(apply(params, SAMPLES), norm(x), rtol=1e-5)
    held.mean.set_value(7.0 * ONES)  # the model goes on; the function does not see it
    np.testing.assert_allclose(f(params, SAMPLES), norm(x), rtol=1e-5)
    model.train()
    training = sj.from_flax(model).f
    with pytest.raises(ValueError, match=r"changes its state .*'mean'.*model.eval\(\)"):
        jax.eval_shape(training, params, SAMPLES)


def test_what_is_no_function_of_params_and_x_is_refused():
    params = {"Dense_0": {"kernel": array(3, 3), "bias": array(3)}}
    f, _ = sj.from_flax(LinenDropout(), {"params": params})
    with pytest.raises(ValueError, match="LinenDropout is no function.*draws at random.*dropout"):
        jax.eval_shape(f, params, X["mlp"])


@pytest.mark.parametrize(
    ("arguments", "kind", "reason"),
    [
        ((LinenDropout(),), ValueError, r"LinenDropout is a linen module.*model.init\(key, x\)"),
        (
            (LinenDropout(), WEIGHTS["mlp"]),
            ValueError,
            "the collections first, last, and no 'params'",
        ),
        ((LinenDropout(), {"params": {}}), ValueError, "LinenDropout has no parameters"),
        (
            (LinenDropout(), {"params": {"count": jnp.arange(2)}}),
            ValueError,
            r"parameter \['count'\] is int",
        ),
        ((nnx.Module(), {}), ValueError, "an nnx module holds its parameters"),
        ((nnx.Module(),), ValueError, "Module has no parameters"),
        ((mlp,), TypeError, "takes a flax.linen.Module or a flax.nnx.Module, got function"),
        ((sj.dense_lift(sj.graphs.mlp(1, 0, 1), 1),), TypeError, "from_equinox takes Equinox"),
    ],
)
def test_bad_input_is_named(arguments, kind, reason):
    with pytest.raises(kind, match=reason):
        sj.from_flax(*arguments)


def test_boxes_and_frozen_dicts_of_linen_are_opened():
    boxed = {"kernel": linen.Partitioned(array(3, 2), names=(None, None))}
    variables = linen.FrozenDict({"params": boxed})
    _, params = sj.from_flax(linen.Dense(2, use_bias=False), variables)
    assert type(params) is dict
    assert params["kernel"] is boxed["kernel"].value


@pytest.mark.parametrize("missing", ["flax.linen", "flax.nnx"])
def test_without_flax_the_message_says_what_to_install(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    lift = sj.dense_lift(sj.graphs.mlp(1, 0, 1), 1)
    calls = [lambda: sj.from_flax(mlp)]
    calls += [lambda: sj.as_linen(lift)] if missing == "flax.linen" else [lambda: sj.as_nnx(lift)]
    for call in calls:
        with pytest.raises(ImportError, match=r'pip install "sparsejax\[flax\]"'):
            call()


def test_a_failure_of_flax_itself_is_not_taken_for_its_absence(monkeypatch):
    def broken(name):
        raise ModuleNotFoundError("No module named 'msgpack'", name="msgpack")

    monkeypatch.setattr(flax_extra.importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="msgpack"):
        flax_extra.flax_module("flax.linen")
