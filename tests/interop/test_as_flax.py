"""Lifts as Flax modules: one function, parameters that go back and forth, wirings left alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import sparsejax as sj
from sparsejax.interop.wiring_arrays import wiring_arrays

MODULE = sj.graphs.mlp(inputs=3, hidden=2, outputs=2)
RNG = np.random.default_rng(2)
X, Y = jnp.asarray(RNG.normal(size=(5, 3))), jnp.asarray(RNG.normal(size=(5, 2)))
STEP = optax.sgd(0.1, momentum=0.9)


def lift_of(pairs):
    return sj.lift_from_edges(MODULE, 3, {"h1->h2": np.array(pairs)})


# Two wirings of one shape: a masked slot each.
LIFTS = [lift_of([[0, 0], [2, 0], [1, 2]]), lift_of([[1, 1], [2, 1], [0, 0]])]


def random_params():
    shapes = jax.eval_shape(LIFTS[0].init, jax.random.key(0))
    return {name: jnp.asarray(RNG.normal(size=w.shape)) for name, w in shapes.items()}


PARAMS = [random_params(), random_params()]


def ones(key, shape, dtype):
    return jnp.asarray(np.ones(shape), dtype)


@pytest.fixture(scope="module")
def expected():
    """For each lift: outputs, and the parameters after one step of training."""

    @eqx.filter_jit
    def run(lift, params):
        gradient = jax.grad(sj.squared_loss(lift.apply, X, Y))(params)
        updates, _ = STEP.update(gradient, STEP.init(params), params)
        return lift.apply(params, X), optax.apply_updates(params, updates)

    return [run(lift, params) for lift, params in zip(LIFTS, PARAMS, strict=True)]


def close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), found, expected)


@pytest.fixture(scope="module")
def variables():
    """As `model.init` lays them out, with parameters of our own."""
    return [
        {"params": params, "wirings": wiring_arrays(lift)}
        for lift, params in zip(LIFTS, PARAMS, strict=True)
    ]


def mean_squared(y):
    return jnp.mean(jnp.sum(jnp.square(y - Y), axis=1))


class TestLinen:
    def test_init_is_that_of_the_lift_with_its_options(self):
        options = {"law": ones, "gain": {"h2->y": 3.0}, "scale_by": "in_degree"}
        model = sj.as_linen(LIFTS[0], **options)
        found, expected = jax.jit(lambda key: (model.init(key, X), LIFTS[0].init(key, **options)))(
            jax.random.key(0)
        )
        assert set(found) == {"params", "wirings"}
        close(found["params"], expected)
        jax.tree.map(np.testing.assert_array_equal, found["wirings"], wiring_arrays(LIFTS[0]))

    def test_init_draws_from_the_key(self):
        def bits(key, shape, dtype):
            return jnp.broadcast_to(jax.random.key_data(key)[1].astype(dtype), shape)

        draw = jax.jit(sj.as_linen(LIFTS[0], law=bits, bias_scale=1).init)
        drawn = [draw(jax.random.key(seed), X)["params"] for seed in (0, 1)]
        seen = {float(np.ravel(weights)[0]) for params in drawn for weights in params.values()}
        assert len(seen) == 2 * len(MODULE.edges)

    def test_one_step_of_training_is_that_of_the_pure_function(self, expected):
        outputs, stepped = expected[0]
        model = sj.as_linen(LIFTS[0])

        @jax.jit
        def step(params):
            gradient = jax.grad(lambda p: mean_squared(model.apply({"params": p}, X)))(params)
            updates, _ = STEP.update(gradient, STEP.init(params), params)
            return model.apply({"params": params}, X), optax.apply_updates(params, updates)

        close(step(PARAMS[0]), (outputs, stepped))

    def test_an_ensemble_of_wirings_is_a_vmap_over_variables(self, expected, variables):
        """Through one model: the wirings are those of the variables, not those it was made of."""
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *variables)
        model = sj.as_linen(LIFTS[1])
        found = jax.jit(jax.vmap(model.apply, in_axes=(0, None)))(stacked, X)
        close(list(found), [outputs for outputs, _ in expected])

    def test_inside_a_larger_module_and_from_there_back(self, expected, variables):
        class Outer(linen.Module):
            @linen.compact
            def __call__(self, x):
                return 2.0 * sj.as_linen(LIFTS[0], law=ones)(x)

        (name,) = jax.eval_shape(Outer().init, jax.random.key(0), X)["params"]
        nested = {kind: {name: held} for kind, held in variables[0].items()}
        f, params = sj.from_flax(Outer(), nested)
        close(eqx.filter_jit(f)(params, X), 2.0 * expected[0][0])
        assert params == {name: PARAMS[0]}

    def test_what_is_missing_is_named(self):
        model = sj.as_linen(LIFTS[0])
        with pytest.raises(ValueError, match="params lack edge 'x->h1'"):
            model.apply({"params": {}}, X)
        wirings = {"h1->h2": {"predecessors": jnp.zeros((2, 3), jnp.int32)}}
        with pytest.raises(ValueError, match="the wirings lack 'present' of edge 'h1->h2'"):
            model.apply({"params": PARAMS[0], "wirings": wirings}, X)


class TestNnx:
    def test_one_step_of_training_is_that_of_the_pure_function(self, expected):
        outputs, stepped = expected[0]
        model = sj.as_nnx(LIFTS[0], PARAMS[0])
        optimizer = nnx.Optimizer(model, STEP, wrt=nnx.Param)

        @nnx.jit
        def step(model, optimizer):
            y = model(X)
            optimizer.update(model, nnx.grad(lambda m: mean_squared(m(X)))(model))
            return y

        close(step(model, optimizer), outputs)
        close(model.lift_params(), stepped)
        assert eqx.tree_equal(model.lift, LIFTS[0])

    def test_state_goes_back_and_forth(self, expected):
        model = sj.as_nnx(LIFTS[0], PARAMS[0])
        graphdef, params, wirings = nnx.split(model, nnx.Param, ...)
        pure = nnx.to_pure_dict(params)
        assert set(pure) == {"params"}
        assert all(pure["params"][edge] is weight for edge, weight in PARAMS[0].items())
        assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(params))
        assert not any(
            jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(wirings)
        )
        other = sj.as_nnx(LIFTS[1], PARAMS[1])
        assert nnx.graphdef(other) == graphdef  # the wiring is state: one program serves both
        nnx.update(other, nnx.state(model))
        assert eqx.tree_equal(other.lift, LIFTS[0])
        f, params = sj.from_flax(model)
        close(eqx.filter_jit(f)(params, X), expected[0][0])

    def test_rngs_draw_with_the_options_of_init(self):
        options = {"law": ones, "bias_scale": 0.25}
        model = sj.as_nnx(LIFTS[0], rngs=nnx.Rngs(0), **options)
        close(model.lift_params(), LIFTS[0].init(jax.random.key(0), **options))

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ({}, "either params, or rngs"),
            ({"params": PARAMS[0], "rngs": nnx.Rngs(0)}, "either params, or rngs"),
            ({"params": PARAMS[0], "gain": 2.0}, "params are given: gain would draw them"),
        ],
    )
    def test_parameters_come_from_one_place(self, arguments, reason):
        with pytest.raises(ValueError, match=reason):
            sj.as_nnx(LIFTS[0], **arguments)
