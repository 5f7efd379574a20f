"""The stabilised solvers against closed forms, other integrators and published coefficients."""

import functools
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

from sparsejax.dynamics.solvers import (
    RKC2,
    RKC4,
    ROCK2,
    ROCK4,
    counting,
    evaluation_counts,
)

SOLVERS = pytest.mark.parametrize("method", [RKC2, RKC4, ROCK2, ROCK4])


class Reaction(NamedTuple):
    """`y' = matrix y + rate cos(5 t) y (1 - y)`, and the radius that fixed steps are told."""

    matrix: jax.Array
    rate: jax.Array
    radius: jax.Array


def reaction(t, y, args):
    return args.matrix @ y + args.rate * jnp.cos(5 * t) * y * (1 - y)


@functools.cache
def fixed_steps(method):
    solver = method(spectral_radius=lambda t, y, args: args.radius, safety=1.0, max_stages=120)

    @jax.jit
    def solve(y0, args, t1, h):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(reaction),
            solver,
            0.0,
            t1,
            h,
            y0,
            args,
            stepsize_controller=diffrax.ConstantStepSize(),
            saveat=diffrax.SaveAt(t1=True, solver_state=True),
            max_steps=None,
            throw=False,
        )

    return solve


@functools.cache
def adaptive(method):
    @jax.jit
    def solve(y0, args, ts, tolerance):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(reaction),
            method(),
            jnp.zeros((), ts.dtype),
            ts[-1],
            None,
            y0,
            args,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            saveat=diffrax.SaveAt(ts=ts, solver_state=True),
            max_steps=None,
        )

    return solve


def heat(n, rate=0.0):
    """Discrete heat equation on (0, 1) with reaction, and smooth data that vanish at the ends."""
    x = np.arange(1, n + 1) / (n + 1)
    matrix = (n + 1) ** 2 * (np.eye(n, k=1) + np.eye(n, k=-1) - 2 * np.eye(n))
    y0 = np.sin(np.pi * x) + 0.25 * np.sin(2 * np.pi * x) - 0.1 * np.sin(3 * np.pi * x)
    return jnp.asarray(y0), Reaction(jnp.asarray(matrix), jnp.asarray(rate), jnp.asarray(0.0))


def reference(y0, args, ts):
    matrix, rate = np.asarray(args.matrix), float(args.rate)
    solution = scipy.integrate.solve_ivp(
        lambda t, y: matrix @ y + rate * np.cos(5 * t) * y * (1 - y),
        (0, ts[-1]),
        np.asarray(y0),
        method="Radau",
        t_eval=ts,
        rtol=1e-11,
        atol=1e-12,
        jac=lambda t, y: matrix + rate * np.cos(5 * t) * np.diag(1 - 2 * y),
    )
    return solution.y.T


@SOLVERS
@pytest.mark.parametrize("rate", [0.0, 8.0], ids=["linear", "nonlinear"])
def test_converges_at_its_order_on_a_stiff_problem(method, rate):
    # h rho runs from 84 (linear), 14 (nonlinear) or, for RKC4, 328 downwards: ROCK4 meets its order
    # on a nonlinear problem where h rho is below about 10. Beyond, stiff components that the
    # reaction excites pass through its finishing stages.
    nonlinear = (80, 330.0) if method is RKC4 else (16, 30.0)
    points, covered = nonlinear if rate else (40, 85.0)
    y0, args = heat(points, rate)
    t1 = 0.1
    if rate == 0:
        exact = scipy.linalg.expm(t1 * np.asarray(args.matrix)) @ np.asarray(y0)
    else:
        exact = reference(y0, args, [t1])[-1]
    order = method.order_of_method
    errors = []
    # The radius told is such that the stage count, and with it the error constant, stays the same.
    steps = np.array([8, 16, 32, 64])
    for count in steps:
        h = t1 / count
        told = args._replace(radius=jnp.asarray(covered / h))
        solution = fixed_steps(method)(y0, told, t1, h)
        assert solution.result == diffrax.RESULTS.successful
        errors.append(float(jnp.abs(solution.ys[-1] - exact).max()))
    slopes = -np.diff(np.log(errors)) / np.diff(np.log(steps))
    assert abs(slopes[-1] - order) < 0.15, (errors, slopes)


def stability(method, z, radius):
    """The stability polynomial of the member that covers `radius`, at points z."""
    blocks = np.array_split(np.asarray(z), -(-len(z) // 40))
    values = []
    for block in blocks:
        padded = np.concatenate([block, np.zeros(40 - len(block))])
        args = Reaction(jnp.diag(jnp.asarray(padded)), jnp.asarray(0.0), jnp.asarray(radius))
        solution = fixed_steps(method)(jnp.ones(40), args, 1.0, 1.0)
        values.append(np.asarray(solution.ys[-1])[: len(block)])
    return np.concatenate(values), int(solution.solver_state.stages)


@SOLVERS
@pytest.mark.parametrize("stages", [15, 30, 70])
def test_stability_interval_is_the_published_one(method, stages):
    # Sommeijer et al. 1997 (2.6); the stage formulas of rock2.f and rock4.f.
    published = {
        RKC2: 2 / 3 * (stages**2 - 1) * (1 - 2 / 15 * 2 / 13),
        ROCK2: 0.811 * stages**2 - 1.5,
        ROCK4: 0.353 * stages**2 - 3,
        RKC4: 0.325 * stages**2 - 2.8,  # derived here
    }[method]
    inside, used = stability(method, -np.linspace(0, 0.99 * published, 400), 0.98 * published)
    assert used == stages
    assert np.abs(inside).max() <= 1 + 1e-9
    # Strictly damped, once the slow part that has to follow the exponential is over.
    damped = np.abs(inside[-np.linspace(0, 0.99 * published, 400) < -2])
    assert damped.max() < (0.96 if method is not RKC2 else 1 - 0.9 * 2 / 13 / 3)
    beyond, _ = stability(method, -np.linspace(0.99, 1.01, 40) * published, 0.98 * published)
    assert np.abs(beyond).max() > 1


@pytest.mark.parametrize(
    "method",
    [RKC2, *(pytest.param(m, marks=pytest.mark.slow) for m in (RKC4, ROCK2, ROCK4))],
    ids=lambda method: method.__name__,
)
@pytest.mark.slow
def test_agrees_with_an_implicit_method_at_all_saved_times(method):
    y0, args = heat(200, 20.0)  # h rho near 1e3 to 1e4
    ts = np.concatenate([[0.0], np.geomspace(1e-4, 0.4, 30)])
    expected = reference(y0, args, ts)
    tolerance = 1e-7 if method in (ROCK4, RKC4) else 1e-6
    solution = adaptive(method)(y0, args, jnp.asarray(ts), tolerance)
    state = solution.solver_state
    assert abs(float(state.radius) / (4 * 201**2) - 1) < 0.02
    # Between steps by cubic Hermite interpolation: no worse than the steps themselves.
    assert np.abs(np.asarray(solution.ys) - expected).max() < 100 * tolerance
    counts = evaluation_counts(method(), solution)
    # An ordinary explicit method cannot take steps beyond 3 / rho: 160,000 steps times t1 = 0.4.
    assert int(counts["gradient_evaluations"]) < 4 * 201**2 * 0.4 / 3 / 2
    assert int(counts["gradient_evaluations"]) >= 4 * int(counts["steps"] / 4)


@pytest.mark.slow
def test_gradient_flow_of_a_network_agrees_with_lsoda():
    key_x, key_w = jax.random.split(jax.random.key(0))
    x = jax.random.normal(key_x, (30, 3))
    target = jnp.sin(x[:, 0]) * x[:, 1]
    theta0 = jax.random.normal(key_w, (40,))

    def loss(theta):
        hidden = jnp.tanh(x @ theta[:24].reshape(3, 8) + theta[24:32][None])
        return jnp.mean((hidden @ theta[32:40] - target) ** 2)

    field = jax.jit(lambda t, theta, args: -jax.grad(loss)(theta))
    ts = np.linspace(0, 20, 11)
    expected = scipy.integrate.solve_ivp(
        lambda t, y: np.asarray(field(t, jnp.asarray(y), None)),
        (0, 20),
        np.asarray(theta0),
        method="LSODA",
        t_eval=ts,
        rtol=1e-11,
        atol=1e-12,
    ).y.T
    evaluations = []
    # A pytree state: the weights in two parts of different shape.
    split = diffrax.ODETerm(
        lambda t, y, args: dict(
            zip(
                ("a", "b"),
                jnp.split(field(t, jnp.concatenate([y["a"], y["b"]]), None), [24]),
                strict=True,
            )
        )
    )
    solver, controller = counting(RKC2(), diffrax.PIDController(rtol=1e-6, atol=1e-7))
    solution = diffrax.diffeqsolve(
        split,
        solver,
        0.0,
        20.0,
        0.01,
        {"a": theta0[:24], "b": theta0[24:]},
        stepsize_controller=controller,
        saveat=diffrax.SaveAt(ts=jnp.asarray(ts), solver_state=True, controller_state=True),
    )
    found = jnp.concatenate([solution.ys["a"], solution.ys["b"]], axis=1)
    assert np.abs(np.asarray(found) - expected).max() < 1e-4
    evaluations = evaluation_counts(solver, solution)
    state = solution.solver_state
    rejected = evaluations["gradient_evaluations"] - state.evaluations
    assert (int(rejected) > 0) == (int(evaluations["rejected_steps"]) > 0)


class Trouble(NamedTuple):
    """Times at which the stiffness jumps to `rate`, and at which the field becomes NaN."""

    jump: jax.Array
    rate: jax.Array
    end: jax.Array
    growth: jax.Array


@functools.cache
def troubled():
    def field(t, y, args):
        stiff = jnp.where(t < args.jump, 1.0, args.rate)
        f = jnp.stack([-y[0] + args.growth * y[0] ** 2, -stiff * (y[1] - jnp.cos(t))])
        return jnp.where(t > args.end, jnp.nan, f)

    @jax.jit
    def solve(y0, args):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            RKC2(max_stages=60),
            0.0,
            1.0,
            None,
            y0,
            args,
            stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-7),
            saveat=diffrax.SaveAt(t1=True, solver_state=True),
            max_steps=None,
            throw=False,
        )

    return lambda y0, **kw: solve(
        y0,
        Trouble(
            *(
                jnp.asarray(kw.get(k, d))
                for k, d in zip(Trouble._fields, (9.0, 1.0, 9.0, 0.0), strict=True)
            )
        ),
    )


@pytest.mark.parametrize("rate", [1e2, 1e4, 1e6])
def test_recovers_when_the_radius_estimate_is_suddenly_too_small(rate):
    solution = troubled()(jnp.array([1.0, 2.0]), jump=0.3, rate=rate)
    assert solution.result == diffrax.RESULTS.successful
    assert float(abs(solution.ys[-1, 0] - np.exp(-1))) < 1e-4
    # On the slow manifold cos t + sin t / rate - ...
    assert float(abs(solution.ys[-1, 1] - np.cos(1) - np.sin(1) / rate)) < 2 / rate**2 + 1e-4
    assert abs(float(solution.solver_state.radius) / rate - 1) < 0.05
    assert int(solution.stats["num_rejected_steps"]) > 0
    # It neither stays at the small steps of the jump nor at a needlessly high stage count.
    assert int(solution.solver_state.evaluations) < 60 * np.sqrt(rate) + 1000


@pytest.mark.parametrize(
    ("trouble", "y0", "result"),
    [
        ({"end": -1.0}, [1.0, 1.0], diffrax.RESULTS.nonfinite),
        ({"end": 0.5}, [1.0, 1.0], diffrax.RESULTS.dt_min_reached),
        ({"growth": 10.0}, [1.0, 1.0], diffrax.RESULTS.dt_min_reached),
        ({}, [jnp.inf, 1.0], diffrax.RESULTS.nonfinite),
    ],
    ids=["never-finite", "nan-from-then-on", "blow-up", "infinite-start"],
)
def test_what_cannot_go_on_ends_with_a_result(trouble, y0, result):
    solution = troubled()(jnp.asarray(y0), **trouble)
    assert solution.result == result
    assert int(solution.stats["num_steps"]) < 4000


def test_a_fixed_step_beyond_the_largest_stage_count_is_a_failure():
    y0, args = heat(40)
    solution = fixed_steps(RKC2)(y0, args._replace(radius=jnp.asarray(1e9)), 0.1, 0.1)
    assert solution.result == diffrax.RESULTS.nonlinear_divergence
    assert jnp.array_equal(solution.ys[-1], y0)


@pytest.mark.slow
def test_vmap_gives_each_lane_its_own_steps():
    y0, args = heat(40, 8.0)
    ts = jnp.linspace(0, 0.1, 5)
    lanes = jnp.stack([0.1 * y0, y0, 5 * y0])
    rates = jnp.array([0.0, 8.0, 30.0])
    batch = Reaction(args.matrix, rates, args.radius)
    together = jax.vmap(adaptive(RKC2), in_axes=(0, Reaction(None, 0, None), None, None))(
        lanes, batch, ts, 1e-5
    )
    for i in range(3):
        alone = adaptive(RKC2)(lanes[i], args._replace(rate=rates[i]), ts, 1e-5)
        assert jnp.allclose(together.ys[i], alone.ys, rtol=1e-9, atol=1e-11)
        for name in ("evaluations", "jvps", "stages"):
            of_lane = getattr(together.solver_state, name)[i]
            assert int(of_lane) == int(getattr(alone.solver_state, name))


@pytest.mark.slow
def test_float32_keeps_its_dtype_and_its_accuracy():
    y0, args = heat(100, 8.0)
    ts = jnp.linspace(0, 0.1, 5)
    low = jax.tree.map(lambda x: x.astype(jnp.float32), (y0, args, ts))
    solution = adaptive(RKC2)(*low, jnp.asarray(1e-4, jnp.float32))
    assert {x.dtype.name for x in jax.tree.leaves((solution.ys, solution.solver_state))} == {
        "float32",
        "int32",
    }
    expected = reference(y0, args, np.asarray(ts))
    assert np.abs(np.asarray(solution.ys) - expected).max() < 2e-3


@pytest.mark.slow
def test_forward_derivative_of_the_flow_matches_finite_differences():
    y0, args = heat(20, 8.0)
    direction = jnp.cos(3.0 * jnp.arange(20.0))

    @jax.jit
    def end(s):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(reaction),
            RKC2(),
            0.0,
            0.1,
            1e-3,
            y0 + s * direction,
            args._replace(rate=args.rate * (1 + s)),
            stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-10),
            adjoint=diffrax.ForwardMode(),
        ).ys[-1]

    _, tangent = jax.jit(lambda s: jax.jvp(end, (s,), (1.0,)))(0.0)
    difference = (end(1e-3) - end(-1e-3)) / 2e-3
    assert float(jnp.abs(tangent - difference).max()) < 1e-5 * float(jnp.abs(tangent).max()) + 1e-6


def test_counts_are_the_calls_made_even_in_rejected_steps():
    calls = {"field": 0}

    def count():
        calls["field"] += 1

    def field(t, y, args):
        jax.debug.callback(count)
        return -jnp.where(t < 0.5, 1.0, 300.0) * (y - jnp.sin(20 * t))

    # A radius that is told costs no products, so that calls are evaluations.
    solver, controller = counting(
        RKC2(spectral_radius=lambda t, y, args: jnp.where(t < 0.5, 1.0, 300.0)),
        diffrax.PIDController(rtol=1e-4, atol=1e-4),
    )
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        0.0,
        1.0,
        0.1,
        jnp.ones(2),
        stepsize_controller=controller,
        saveat=diffrax.SaveAt(t1=True, solver_state=True, controller_state=True),
    )
    jax.effects_barrier()
    counts = evaluation_counts(solver, solution)
    assert int(counts["rejected_steps"]) > 0
    assert int(counts["gradient_evaluations"]) == calls["field"]
    assert int(counts["hessian_vector_products"]) == 0


@SOLVERS
def test_the_field_is_traced_a_fixed_number_of_times(method):
    traces = []
    for stages in (20, 150):
        calls = 0

        def field(t, y, args):
            nonlocal calls
            calls += 1
            return -y

        def solve(y, field=field, stages=stages):
            return diffrax.diffeqsolve(
                diffrax.ODETerm(field), method(max_stages=stages), 0.0, 1.0, 0.1, y
            ).ys

        jax.make_jaxpr(solve)(jnp.ones(3))
        traces.append(calls)
    assert traces[0] == traces[1] <= 12


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="max_stages=3"):
        ROCK4(max_stages=3)
    with pytest.raises(ValueError, match="safety"):
        RKC2(safety=0.9)
    y0, args = heat(20)
    unsaved = diffrax.diffeqsolve(diffrax.ODETerm(reaction), RKC2(), 0.0, 1e-3, 1e-3, y0, args)
    with pytest.raises(ValueError, match="solver_state=True"):
        evaluation_counts(RKC2(), unsaved)
