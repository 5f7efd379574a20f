"""Lifts of the ready-made modules are the networks of the books."""

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.graphs import (
    Bias,
    Convolution,
    Dense,
    Edge,
    PerceptronModule,
    Pooling,
    SoftMul,
    TokenMixing,
    Vertex,
    convnet,
    from_target,
    mixing_transformer,
    recurrent_mlp,
    residual_mlp,
)
from sparsejax.lifts import DenseWiring
from sparsejax.lifts.convolution_product import by_taps, convolution_product, whole

from .reference import activations as reference, correlate, transmit, wired

BATCH = 2
TREE = sj.targets.product_tree(6)
close = {"rtol": 1e-11, "atol": 1e-12}

MODULES = {
    "convnet": convnet(
        (5, 6),
        hidden=2,
        outputs=2,
        activation="tanh",
        channels=2,
        stride=[2, 1],
        padding=["SAME", ((1, 0), (0, 2))],
        pooling=[None, "max"],
        readout="dense",
    ),
    "convnet in one dimension": convnet(
        8,
        hidden=2,
        outputs=1,
        activation="tanh",
        filter_size=[3, 2],
        stride=[1, 2],
        padding=["VALID", 1],
        pooling=["mean", None],
        readout="max",
        bias=False,
    ),
    "transformer": mixing_transformer(
        tokens=3, features=2, blocks=1, outputs=2, inputs=3, head_features=4, hidden_features=5
    ),
    "transformer for sequences": mixing_transformer(
        tokens=3, features=2, blocks=1, outputs=2, causal=True, readout="tokens", positions=False
    ),
    "residual": residual_mlp(inputs=3, blocks=1, outputs=2),
    "recurrent": recurrent_mlp(inputs=2, hidden=2, outputs=1, steps=2),
    "target": from_target(TREE),
}


def lift_of(module, kind, size=3, seed=0):
    """A dense lift; or, over every edge between several vertices, some edges and perhaps none."""
    dense, rng = sj.dense_lift(module, size), np.random.default_rng(seed)
    if kind == "dense":
        return dense
    wirings = {}
    for name, wiring in dense.wirings.items():
        n_a, n_b = wiring.n_sources, wiring.n_targets
        pairs = [(u, v) for u in range(n_a) for v in range(n_b) if rng.random() < 0.6]
        wirings[name] = wired(pairs, n_a, n_b, masked=True)
    lift = dataclasses.replace(dense, wirings=wirings)
    lift.validate()
    return lift


def random_params(lift, seed=0):
    """Every slot, padding too, gets a weight that would show."""
    rng = np.random.default_rng(seed)
    params = {}
    for edge in lift.module.edges:
        shape = (lift.wirings[edge.name].slots, lift.sizes[edge.target])
        params[edge.name] = jnp.asarray(rng.normal(size=(*shape, *lift.module.weight_shape(edge))))
    return params


def samples(module, seed=0):
    """One array, read whole or by coordinates, and the same by input name."""
    rng = np.random.default_rng(seed)
    shape = module.vertex(module.fed_inputs[0]).shape
    if not module.coordinates:
        several = module.clamped("x")
        x = rng.normal(size=(BATCH, *shape) if several == 1 else (BATCH, several, *shape))
        return jnp.asarray(x), {module.fed_inputs[0]: x}
    x = rng.normal(size=(BATCH, 1 + max(module.coordinates.values()), *shape))
    return jnp.asarray(x), {name: x[:, at] for name, at in module.coordinates.items()}


# Compiled for one run each: not worth optimising.
quick = {"compiler_options": {"xla_backend_optimization_level": 0}}
found_activations = jax.jit(lambda lift, params, x: lift.activations(params, x), **quick)
apply = jax.jit(lambda lift, params, x: lift.apply(params, x), **quick)


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "sparse") for name in MODULES if name != "transformer for sequences"]
    + [(name, "dense") for name in ("convnet", "transformer for sequences")],
)
def test_values_are_those_of_theory(name, kind):
    lift = lift_of(MODULES[name], kind)
    params = random_params(lift)
    x, named = samples(lift.module)
    expected = reference(lift, params, named)
    for vertex, value in found_activations(lift, params, x).items():
        held = expected[vertex]
        np.testing.assert_allclose(value, held.reshape(value.shape), err_msg=vertex, **close)


@pytest.mark.parametrize("name", ["convnet", "transformer for sequences"])
def test_single_precision_stays_single(name):
    lift = lift_of(MODULES[name], "sparse")
    params, x = jax.tree.map(
        lambda leaf: leaf.astype(jnp.float32), (random_params(lift), samples(lift.module)[0])
    )
    assert jax.eval_shape(lift.apply, params, x).dtype == jnp.float32


def test_inputs_by_coordinate_and_by_name():
    lift = sj.dense_lift(MODULES["target"], 2)
    params = random_params(lift)
    x, named = samples(lift.module)
    wide = jnp.concatenate([x, 7 * x], axis=1)  # coordinates that nothing reads
    by_name = jax.eval_shape(lift.apply, params, named)
    assert by_name.shape == (BATCH, 1)
    np.testing.assert_array_equal(apply(lift, params, x), apply(lift, params, wide))
    with pytest.raises(ValueError, match=r"\(batch, 4 or more, ...\), got \(2, 3\)"):
        lift.apply(params, x[:, :3])


def one_layer():
    """Sparse edges from two images to images half as large, pooled once more."""
    return PerceptronModule(
        (
            Vertex("x", shape=(5, 4), clamped=2),
            Vertex("h", shape=(2, 1), activation=Pooling("max", stride=1, function="tanh")),
            Vertex("y", shape=(2,), activation="identity"),
        ),
        (Edge("x", "h", Convolution((3, 2), stride=2)), Edge("h", "y", Dense((2,)))),
        ("x",),
        ("y",),
    )


def one_head():
    """Sparse edges into queries, keys and values, and out of the heads."""
    return PerceptronModule(
        (
            Vertex("x", shape=(3, 2), clamped=2),
            Vertex("head", shape=(3, 2), activation=SoftMul(causal=True)),
            Vertex("y", shape=(2,), activation="identity"),
        ),
        (
            *(Edge("x", "head", TokenMixing(2), name) for name in "qkv"),
            Edge("head", "y", Dense((2,))),
        ),
        ("x",),
        ("y",),
    )


@pytest.mark.parametrize("module", [one_layer(), one_head()], ids=["convolution", "attention"])
@pytest.mark.slow
def test_derivatives_of_every_order_agree(module):
    """Forward and reverse mode are transposes; Hessian products are one symmetric matrix."""
    lift = lift_of(module, "sparse", size=2)
    p, u = (random_params(lift, seed) for seed in range(2))
    x, named = samples(lift.module)
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(BATCH, 2)))

    @functools.partial(jax.jit, **quick)
    def compute(p, u, x):
        def loss(p, x):
            return jnp.sum(weights * jnp.sin(lift.apply(p, x)))

        slope, hessian = jax.jvp(lambda q: jax.grad(loss)(q, x), (p,), (u,))
        along = jax.jvp(lambda q: loss(q, x), (p,), (u,))[1]
        reverse = jax.grad(lambda q: jax.jvp(lambda r: loss(r, x), (q,), (u,))[1])(p)
        return slope, hessian, along, reverse, jax.grad(loss, argnums=1)(p, x)

    slope, hessian, along, reverse, input_slope = compute(p, u, x)

    paired = sum(float(np.vdot(slope[name], u[name])) for name in u)
    np.testing.assert_allclose(paired, along, rtol=1e-10)
    for name in u:
        np.testing.assert_allclose(reverse[name], hessian[name], rtol=1e-9, atol=1e-10)
    # Numbers from the definition alone, by the five-point rule.
    dx = np.random.default_rng(4).normal(size=x.shape)

    def value(step, in_params):
        moved = {e: np.asarray(p[e]) + step * in_params * np.asarray(u[e]) for e in p}
        fed = {"x": named["x"] + step * (1 - in_params) * dx}
        return np.sum(np.asarray(weights) * np.sin(reference(lift, moved, fed)["y"][:, 0]))

    h = 1e-4
    for in_params, found in ((1, along), (0, np.vdot(input_slope, dx))):
        steps = [value(k * h, in_params) for k in (-2, -1, 1, 2)]
        difference = (steps[0] - 8 * steps[1] + 8 * steps[2] - steps[3]) / (12 * h)
        np.testing.assert_allclose(found, difference, rtol=1e-7, atol=1e-8)


class TestConvolutions:
    @pytest.mark.parametrize(
        ("strides", "paddings"), [((2, 1), ("SAME", "VALID")), ((1, 3), ("VALID", 1))]
    )
    def test_a_dense_lift_is_a_convolutional_network_of_flax(self, strides, paddings):
        class Network(nn.Module):
            @nn.compact
            def __call__(self, x):
                for features, stride, padding in zip((4, 3), strides, paddings, strict=True):
                    layer = nn.Conv(features, (3, 3), strides=stride, padding=padding)
                    x = nn.relu(layer(x))
                x = nn.max_pool(x, (2, 2), strides=(2, 2))
                return nn.Dense(2)(x.reshape(len(x), -1))

        module = convnet(
            (9, 8),
            hidden=2,
            outputs=2,
            channels=2,
            stride=list(strides),
            padding=list(paddings),
            pooling=[None, "max"],
            readout="dense",
        )
        lift = sj.dense_lift(module, {"h1": 4, "h2": 3})
        params, x = random_params(lift), samples(module)[0]
        # Ours: (source, target, height, width, channels); theirs (height, width, in, out).
        readout = np.moveaxis(np.asarray(params["h2->y"])[:, 0], 0, -1)  # (2, height, width, 3)
        theirs = {
            "Conv_0": {
                "kernel": np.moveaxis(np.asarray(params["x->h1"])[0], 0, -1),
                "bias": params["one->h1"][0],
            },
            "Conv_1": {
                "kernel": np.transpose(params["h1->h2"], (2, 3, 0, 1)),
                "bias": params["one->h2"][0],
            },
            "Dense_0": {"kernel": readout.reshape(2, -1).T, "bias": params["one->y"][0, 0]},
        }
        expected = jax.jit(Network().apply, **quick)({"params": theirs}, x)
        np.testing.assert_allclose(apply(lift, params, x), expected, **close)

    @pytest.mark.parametrize(
        ("convolution", "image"),
        [
            (Convolution((3, 2), stride=(2, 1), padding="SAME"), (4, 5)),
            (Convolution((2, 3), stride=3, padding="VALID"), (6, 7)),
            (Convolution((3,), stride=2, padding=((2, 0),)), (4,)),
            (Convolution((1,), stride=2, padding=0), (4,)),
        ],
    )
    def test_one_convolution_and_a_loop_over_taps_are_one_function(self, convolution, image):
        """On each kind of device one of the two is run; here both are, batched as ensembles too."""
        rng = np.random.default_rng(0)
        w = rng.normal(size=(2, 3, 2, *convolution.filter_shape))
        y = rng.normal(size=(2, 3, *image, BATCH))
        expected = np.zeros((2, 2, *convolution.output_shape(image), BATCH))
        for member, v, u, b in np.ndindex(2, 2, 3, BATCH):
            z = correlate(convolution, w[member, u, v], y[member, u, ..., b])
            expected[member, v, ..., b] += z
        wiring = DenseWiring(n_sources=3, n_targets=2)

        @functools.partial(jax.jit, **quick)
        def both(w, y):
            taps = jax.vmap(lambda w, y: by_taps(convolution, w, y, wiring))(w, y)
            chosen = convolution_product(convolution, w[0], y[0], wiring)
            return taps, chosen, whole(convolution, w[0], y[0])

        taps, chosen, one = both(jnp.asarray(w), jnp.asarray(y))
        np.testing.assert_allclose(taps, expected, **close)
        np.testing.assert_allclose(chosen, expected[0], **close)
        np.testing.assert_allclose(one, expected[0], **close)

    def test_an_ensemble_of_wirings_compiles_once(self):
        """Three random convnets at a time, through one program, each computing its own function."""
        module = convnet((4, 3), hidden=2, outputs=1, activation="tanh", readout="dense")
        rng, traces = np.random.default_rng(0), []

        def member():
            """Two permutations that agree nowhere: in- and out-degrees of two."""
            lift, order, turn = sj.dense_lift(module, 4), rng.permutation(4), rng.permutation(4)
            pairs = [(int(order[i - d]), int(turn[i])) for i in range(4) for d in range(2)]
            wiring = wired(pairs, 4, 4, masked=False)
            lift = dataclasses.replace(lift, wirings=lift.wirings | {"h1->h2": wiring})
            return lift, random_params(lift, seed=int(rng.integers(1000)))

        @functools.partial(jax.jit, **quick)
        @jax.vmap
        def ensemble(lift, params):
            traces.append(None)
            return lift.apply(params, x)

        x, named = samples(module)
        for _ in range(2):
            members = [member() for _ in range(3)]
            lifts, params = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *members)
            for y, (lift, own) in zip(ensemble(lifts, params), members, strict=True):
                np.testing.assert_allclose(y, reference(lift, own, named)["y"][:, 0], **close)
        assert len(traces) == 1


class TestAttention:
    @pytest.mark.parametrize("causal", [False, True])
    def test_heads_above_one_vertex_are_multi_head_attention(self, causal):
        """With full in-degree: flax's own, head by head the same matrices, and plain NumPy."""
        tokens, features, heads, c = 4, 6, 3, 2
        module = PerceptronModule(
            (
                Vertex("x", shape=(tokens, features)),
                Vertex("head", shape=(tokens, c), activation=SoftMul(causal)),
                Vertex("y", shape=(tokens, 5), activation="identity"),
            ),
            (*(Edge("x", "head", TokenMixing(c), name) for name in "qkv"),)
            + (Edge("head", "y", TokenMixing(5), "out"),),
            ("x",),
            ("y",),
        )
        lift = sj.dense_lift(module, heads)
        params, x = random_params(lift), samples(module)[0]
        found = apply(lift, params, x)

        layer = nn.MultiHeadDotProductAttention(
            num_heads=heads, qkv_features=heads * c, out_features=5, use_bias=False
        )
        names = {"query": "q", "key": "k", "value": "v"}
        theirs = {
            name: {"kernel": jnp.moveaxis(params[ours][0], -1, 0)} for name, ours in names.items()
        } | {"out": {"kernel": jnp.swapaxes(params["out"][:, 0], 1, 2)}}
        mask = nn.make_causal_mask(jnp.ones((BATCH, tokens))) if causal else None
        expected = jax.jit(lambda p, x: layer.apply({"params": p}, x, mask=mask), **quick)(
            theirs, x
        )
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)

        plain = np.zeros(found.shape)
        for b, h in np.ndindex(BATCH, heads):
            q, k, v = (np.asarray(x)[b] @ np.asarray(params[e])[0, h].T for e in "qkv")
            scores = np.exp(q @ k.T / math.sqrt(c))
            scores = np.tril(scores) if causal else scores
            attention = scores / scores.sum(axis=1, keepdims=True)
            plain[b] += attention @ v @ np.asarray(params["out"])[h, 0].T
        np.testing.assert_allclose(found, plain, **close)


@pytest.mark.parametrize("name", MODULES)
def test_weights_start_at_the_gain_over_the_root_of_all_that_adds_up(name):
    """Unit weights on unit activations, edge by edge: the entries that meet in one of `Z`."""
    lift = sj.dense_lift(MODULES[name], 3)

    def ones(key, shape, dtype):
        return jnp.asarray(np.ones(shape, dtype))

    drawn = lift.init(jax.random.key(0), gain=2, bias_scale=0.25, law=ones)
    for edge in lift.module.edges:
        if isinstance(edge.map, Bias):
            np.testing.assert_allclose(drawn[edge.name], 0.25)
            continue
        shape = lift.module.vertex(edge.source).shape
        met = transmit(edge.map, np.ones(lift.module.weight_shape(edge)), np.ones(shape))
        assert edge.map.fan_in(shape) == np.max(met)
        entries = np.max(met) * lift.sizes[edge.source]
        np.testing.assert_allclose(drawn[edge.name], 2 / math.sqrt(entries))
