"""Convolutions, mixing, attention and pooling at one vertex: shapes, faults, independent values."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from sparsejax.graphs import (
    Bias,
    Convolution,
    Dense,
    Edge,
    PerceptronModule,
    Pointwise,
    Pooling,
    PositionMixing,
    ShapeMismatchError,
    SoftMul,
    TokenMixing,
    Vertex,
)

RNG = np.random.default_rng(0)


def test_a_convolution_is_a_correlation_summed_over_channels():
    image, filters = RNG.normal(size=(6, 7, 2)), RNG.normal(size=(3, 2, 2))
    full = sum(scipy.signal.correlate2d(image[..., c], filters[..., c]) for c in range(2))
    found = Convolution((3, 2), stride=(2, 3), padding=((2, 2), (1, 1)))(
        jnp.asarray(filters), jnp.asarray(image)
    )
    np.testing.assert_allclose(found, full[::2, ::3], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("convolution", "source", "weight", "out", "fan_in"),
    [
        (Convolution((3, 3)), (28, 28), (3, 3), (28, 28), 9),
        (Convolution((3, 3), stride=2), (5, 6, 3), (3, 3, 3), (3, 3), 27),
        (Convolution((2,), padding="VALID"), (5,), (2,), (4,), 2),
        (Convolution((3, 1), padding=(1, 0)), (4, 4), (3, 1), (4, 4), 3),
        (Convolution((4,), stride=3, padding=((0, 5),)), (4, 2), (4, 2), (2,), 8),
        # Filters that never lie in their image whole.
        (Convolution((5, 3)), (2, 2), (5, 3), (2, 2), 4),
        (Convolution((3,), padding=2), (1,), (3,), (3,), 1),
    ],
)
def test_shapes_and_fan_in_of_convolutions(convolution, source, weight, out, fan_in):
    assert convolution.weight_shape(source) == weight
    assert convolution.output_shape(source) == out
    assert convolution.fan_in(source) == fan_in
    ones = convolution(jnp.asarray(np.ones(weight)), jnp.asarray(np.ones(source)))
    assert ones.shape == out and ones.max() == fan_in


@pytest.mark.parametrize("edge_map", [TokenMixing(4), PositionMixing(5), Bias((3, 2), shared=(0,))])
def test_mixing_and_shared_biases(edge_map):
    source = () if isinstance(edge_map, Bias) else (3, 2)
    w, y = RNG.normal(size=edge_map.weight_shape(source)), RNG.normal(size=source)
    expected = {
        TokenMixing: lambda: np.einsum("oi,ti->to", w, y),
        PositionMixing: lambda: np.einsum("oi,if->of", w, y),
        Bias: lambda: y * np.stack([w, w, w]),
    }[type(edge_map)]()
    found = edge_map(jnp.asarray(w), jnp.asarray(y))
    assert found.shape == edge_map.output_shape(source)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert edge_map.fan_in(source) == {TokenMixing: 2, PositionMixing: 3, Bias: 1}[type(edge_map)]


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: Convolution(()), r"one or two positive axes, got \(\)"),
        (lambda: Convolution((3, 0)), "one or two positive axes"),
        (lambda: Convolution((3,), stride=0), "stride is a positive number"),
        (lambda: Convolution((3,), stride=(1, 1)), r"one per axis of the filter \(3,\)"),
        (lambda: Convolution((3,), padding="same"), "'SAME', 'VALID'.*not 'same'"),
        (lambda: Convolution((3,), padding=-1), "at least 0"),
        (lambda: Convolution((3, 3), padding=((1, 1),)), "or a pair, per axis"),
        (lambda: Convolution((3,)).output_shape((4, 2, 2)), r"1 axes, or of 2 with channels last"),
        (lambda: Convolution((3,)).weight_shape(()), r"got shape \(\)"),
        (lambda: Convolution((3,), padding="VALID").output_shape((2,)), "no place in an image"),
        (lambda: TokenMixing(0), "features must be positive, got 0"),
        (lambda: PositionMixing(0), "tokens must be positive, got 0"),
        (lambda: Bias((2, 2), shared=(2,)), r"axes 0 to 1.*shared=\(2,\)"),
        (lambda: Bias((2, 2), shared=(0, 0)), "once at most"),
        (lambda: Pooling("max", window=0), "window of a pooling must be positive, got 0"),
        (lambda: Pooling("max", stride=(1, 0)), "stride of a pooling must be positive"),
        (lambda: Pooling("max", window=None, stride=1), "has no stride"),
        (lambda: Pooling("max", function="wavy"), "unknown activation 'wavy'"),
        (lambda: Pooling("max", window=(2,)).output_shape((4, 4)), r"\(2,\) does not fit"),
        (lambda: Pooling("max", window=3).output_shape((4, 2)), "has no place in shape"),
    ],
)
def test_faults_say_what_would_be_right(build, reason):
    with pytest.raises(ValueError, match=reason):
        build()


def module_of(vertex, *maps):
    """One image or sequence, the vertex, a readout."""
    edges = (Edge("x", "h", edge_map, name=f"e{i}") for i, edge_map in enumerate(maps))
    return PerceptronModule(
        (Vertex("x", shape=(4, 2)), vertex, Vertex("y", activation="identity")),
        (*edges, Edge("h", "y", Dense())),
        ("x",),
        ("y",),
    )


@pytest.mark.parametrize(
    ("vertex", "maps", "reason"),
    [
        (Vertex("h", activation="tanh"), [TokenMixing(2)], "'e0'.*gives shape"),
        (Vertex("h", activation="tanh"), [Convolution((9, 9), padding="VALID")], "'e0'.*no place"),
        (
            Vertex("h", shape=(4, 2), activation=SoftMul()),
            [TokenMixing(2)] * 2,
            "'h'.*three arguments, queries, keys and values; got 2",
        ),
        (
            Vertex("h", shape=(4, 2), activation=SoftMul()),
            [TokenMixing(2), TokenMixing(3), TokenMixing(2)],
            r"'h'.*got shapes \(4, 2\), \(4, 3\), \(4, 2\)",
        ),
        (
            Vertex("h", shape=(4, 2), activation=SoftMul(causal=True)),
            [TokenMixing(2), PositionMixing(3), PositionMixing(3)],
            "'h'.*as many others as tokens if causal",
        ),
        (
            Vertex("h", shape=(2, 1), activation=Pooling("max")),
            [TokenMixing(2), PositionMixing(2)],
            "'h'.*adds arrays of one shape",
        ),
        (
            Vertex("h", shape=(4, 2), activation=Pooling("max")),
            [TokenMixing(2)],
            r"gives shape \(2, 1\)",
        ),
    ],
)
def test_a_module_refuses_what_does_not_fit(vertex, maps, reason):
    with pytest.raises(ShapeMismatchError, match=reason):
        module_of(vertex, *maps)


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_pooling_is_that_of_flax(kind):
    z = RNG.normal(size=(7, 5))
    theirs = {"mean": nn.avg_pool, "max": nn.max_pool}[kind]
    with jax.numpy_dtype_promotion("standard"):
        expected = theirs(np.maximum(z, 0)[..., None], (3, 2), strides=(2, 1))[..., 0]
    pooling = Pooling(kind, window=(3, 2), stride=(2, 1))
    found = pooling(jnp.asarray(z / 3), jnp.asarray(2 * z / 3))
    assert found.shape == pooling.output_shape((7, 5))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    whole = Pooling(kind, window=None, function="identity")(jnp.asarray(z))
    np.testing.assert_allclose(whole, getattr(np, kind)(z), rtol=1e-12)


@pytest.mark.parametrize(
    "activation", [Pooling("mean"), Pooling("max"), Pooling("max", function="tanh"), SoftMul()]
)
def test_homogeneity_is_true(activation):
    z = [jnp.asarray(RNG.normal(size=(4, 2))) for _ in range(3)]
    scaled = np.allclose(activation(*(3 * a for a in z)), 3 * activation(*z), rtol=1e-12)
    assert activation.positively_homogeneous == scaled


def test_attention_is_homogeneous_in_its_values_alone():
    q, k, v = (jnp.asarray(RNG.normal(size=(3, 2))) for _ in range(3))
    np.testing.assert_allclose(SoftMul()(q, k, 3 * v), 3 * SoftMul()(q, k, v), rtol=1e-12)


def test_static_and_hashable():
    for make in (
        lambda: Convolution((3, 3), padding=((1, 0), (0, 1))),
        lambda: TokenMixing(2),
        lambda: PositionMixing(2),
        lambda: Pooling("mean", window=None),
        lambda: SoftMul(causal=True),
        lambda: Bias((2, 3), shared=(1,)),
    ):
        assert make() == make() and hash(make()) == hash(make())
    assert Pooling("max").positively_homogeneous == Pointwise("relu").positively_homogeneous
