"""The promise from the initialisation alone: its constants attacked, its curve against flows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from jax.flatten_util import ravel_pytree

import sparsejax as sj
from sparsejax.bounds.tangent import squared_curve
from sparsejax.graphs import Edge, PerceptronModule, Pointwise, Vertex

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.uniform(-1, 1, (12, 3)))
Y = X[:, :1] * X[:, 1:2]


def sparse_tanh():
    module = sj.graphs.mlp(inputs=3, hidden=2, outputs=1, activation="tanh")
    return sj.random_sparse_lift(jax.random.key(0), module, sizes=10, in_degree=3), 0.3


def chain(activation):
    """One linear path `x -> h1 -> h2 -> y`, where the attack can be as strong as the bound."""
    module = sj.graphs.mlp(inputs=3, hidden=2, outputs=1, activation=activation, bias=False)
    return sj.dense_lift(module, sizes=1)


def strongest(lift, params, layer, distance, steps=60):
    """Gradient ascent on the sphere, from random directions, for the largest drift found."""
    hidden = {name: w for name, w in params.items() if not name.endswith("->y")}
    theta, unravel = ravel_pytree(hidden)
    at_start = lift.activations(params, X)[layer]

    def drift(direction):
        moved = unravel(theta + distance * direction / jnp.linalg.norm(direction))
        values = lift.activations({**params, **moved}, X)[layer]
        return jnp.sqrt(jnp.sum((values - at_start) ** 2) / len(X) + 1e-30)

    def climb(direction):
        def step(d, _):
            value, slope = jax.value_and_grad(drift)(d)
            d = d + 0.3 * slope / (jnp.linalg.norm(slope) + 1e-30)
            return d / jnp.linalg.norm(d), value

        last, values = jax.lax.scan(step, direction / jnp.linalg.norm(direction), length=steps)
        return jnp.maximum(values.max(), drift(last))

    starts = jnp.asarray(np.random.default_rng(1).normal(size=(8, theta.size)))
    return float(jax.jit(lambda s: jax.lax.map(climb, s))(starts).max())


@pytest.mark.parametrize(
    ("make", "layer", "share"),
    [
        pytest.param(sparse_tanh, "h2", 0.2, marks=pytest.mark.slow),
        # To first order the split over two edges costs at most a factor sqrt(2).
        pytest.param(lambda: (chain("identity"), 0.1), "h2", 0.65, marks=pytest.mark.slow),
        (lambda: (sj.dense_lift(sj.graphs.mlp(3, 1, 1, "identity", bias=False), 4), 0.5), "h1", 1),
    ],
    ids=["sparse tanh", "chain", "one linear layer"],
)
def test_no_perturbation_drifts_further_and_some_come_close(make, layer, share):
    lift, distance = make()
    params = lift.init(jax.random.key(2), gain=1.5)
    promised = sj.bounds.FeatureDrift(lift, params, X).at(distance)[layer]
    found = strongest(lift, params, layer, distance)
    assert share * promised * (1 - 1e-3) <= found <= promised * (1 + 1e-9)


def test_slopes_and_bounds_of_the_activations():
    z = jnp.linspace(-12, 12, 24001)
    for name in Pointwise.names():
        activation = Pointwise(name)
        values = np.asarray(activation(z))
        slope = np.abs(np.diff(values) / np.diff(z)).max()
        if name != "square":
            assert 0.99 * activation.lipschitz <= slope <= activation.lipschitz * (1 + 1e-9)
        highest = np.abs(values).max()
        assert highest <= activation.bound and (highest > 0.99 * activation.bound or highest > 10)


@pytest.fixture(scope="module")
def wide():
    lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=1, outputs=1, activation="relu"), 200)
    params = lift.init(jax.random.key(3), zero_outputs=True)
    eps = 0.4 * float(sj.squared_loss(lift.apply, X, Y)(params))
    found = sj.bounds.readout_certificate(lift, params, X, Y, eps, margins=(0.5, 0.7))
    loss = sj.squared_loss(lift.apply, X, Y)
    ts = found.horizon * np.concatenate([np.linspace(0, 1, 9) ** 2, [1.2, 1.5]])
    flow = sj.gradient_flow(loss, params, ts[-1], saveat=ts, solver="rk4", dt=0.01)
    return found, flow


@pytest.mark.slow
def test_the_promise_holds_along_the_flow_and_says_something(wide):
    found, flow = wide
    bound = found.bound(flow)
    verdict = sj.bounds.compare(bound, flow)
    assert verdict.status == "holds" and not verdict.vacuous and not found.vacuous
    assert bound.values[8] < 0.9 * found.initial  # at the horizon
    assert (np.diff(bound.values) <= 0).all() and found.limit < 0.9 * found.initial
    np.testing.assert_allclose(found.values(np.array([1e9]))[0], found.limit, rtol=1e-6)
    # What the readouts do goes on for longer than what is proved of them.
    gap = found.gap(flow, X, Y)
    assert gap.certified == found.horizon and gap.measured >= found.horizon
    elsewhere = sj.Trajectory(
        **(vars(flow) | {"params": jax.tree.map(lambda w: w + 1, flow.params)})
    )
    assert sj.bounds.compare(found.bound(elsewhere), flow).status == "not_applicable"
    # The same start, and another loss.
    other = sj.Trajectory(**(vars(flow) | {"losses": flow.losses.at[1:].multiply(0.5)}))
    assert sj.bounds.compare(found.bound(other), other).status == "not_applicable"


@pytest.mark.slow
def test_the_constant_within_the_ball_is_what_was_promised(wide):
    found, _ = wide
    lift, theta = found.lift, ravel_pytree(found.params)
    directions = [RNG.normal(size=theta[0].size) for _ in range(3)]
    for share in (0.0, 0.5, 1.0):
        distance = share * found.reach
        for direction in directions:
            moved = theta[0] + jnp.asarray(distance * direction / np.linalg.norm(direction))
            params = theta[1](moved)
            exact = float(sj.tangent_constant(lift.apply, params, X, Y, found.eps))
            assert exact <= found.kappa + distance
            misfit = float(sj.squared_loss(lift.apply, X, Y)({**params, **found.readouts}))
            assert misfit <= found.eps
    # At the reach, misfit and drift together are sqrt(eps), and not less.
    q, weights = np.sqrt(found.eps), np.asarray(found.readouts["h1->y"])
    drift = np.linalg.norm(weights) * found.details["drift_at_reach"]["h1"]
    assert found.margin * q + drift == pytest.approx(q, rel=1e-5)
    # The norm is that of the readouts' move, and their misfit the one that was aimed at.
    moved = {name: found.readouts[name] - found.params[name] for name in found.readouts}
    assert float(jnp.linalg.norm(ravel_pytree(moved)[0])) == pytest.approx(found.kappa, rel=1e-9)
    still = float(sj.squared_loss(lift.apply, X, Y)({**found.params, **found.readouts}))
    assert np.sqrt(still / found.eps) == pytest.approx(found.margin, rel=1e-6)


def test_the_curve_is_the_integral_that_it_says(wide):
    found, _ = wide
    gap = found.initial - found.eps
    for share in (1e-9, 0.01, 1.0):
        t = share * found.horizon
        integral, _ = scipy.integrate.quad(
            lambda root: 2 * root / (found.kappa + np.sqrt(gap) * root) ** 2, 0, np.sqrt(t)
        )
        expected = squared_curve(found.initial, found.eps, np.array([integral]))[0]
        drop = found.initial - found.values(np.array([t]))[0]
        assert drop == pytest.approx(found.initial - expected, rel=1e-6, abs=1e-15)


def test_nothing_is_promised_where_readouts_do_not_suffice():
    lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=1, outputs=1), 2)
    params = lift.init(jax.random.key(0), zero_outputs=True)
    loss = sj.squared_loss(lift.apply, X, Y)
    initial = float(loss(params))
    found = sj.bounds.readout_certificate(lift, params, X, Y, 0.01 * initial)
    assert found.vacuous and found.kappa == np.inf and found.limit == initial
    assert (found.values(np.array([0.0, 9.0])) == initial).all()
    # Below eps already: the loss stays where it is, and that is no vacuous promise.
    there = sj.bounds.readout_certificate(lift, params, X, Y, 2 * initial)
    assert not there.vacuous and there.limit == initial


def test_what_is_not_covered_is_refused_by_name():
    def certify(lift, **options):
        params = lift.init(jax.random.key(0))
        return sj.bounds.readout_certificate(lift, params, X, Y, **({"eps": 0.1} | options))

    mlp = sj.graphs.mlp
    with pytest.raises(ValueError, match="'h1'.*Lipschitz"):
        certify(sj.dense_lift(mlp(3, 1, 1, activation="square"), 2))
    direct = PerceptronModule(
        (Vertex("x", (3,)), Vertex("y", (3,), "tanh")), (Edge("x", "y"),), ("x",), ("y",)
    )
    with pytest.raises(ValueError, match="'y'.*identity"):
        certify(sj.dense_lift(direct, 1))
    for bad in ({"eps": -1.0}, {"margins": (1.0,)}, {"margins": ()}):
        with pytest.raises(ValueError, match="must"):
            certify(sj.dense_lift(mlp(3, 1, 1), 2), **bad)
