"""Gradient flow against exact solutions, conserved quantities and known ways to end."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import sparsejax as sj
from sparsejax.dynamics.recording import checked_probes

TRACES = []


def linear_model(w, x):
    TRACES.append("linear")
    return x @ w


def linear_problem(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(6, 4)), rng.normal(size=6), rng.normal(size=4)


def linear_solution(a, y, w0, ts):
    """(3.1), through the normal equations and a matrix exponential."""
    best = np.linalg.solve(a.T @ a, a.T @ y)
    rate = 2 * a.T @ a / len(y)
    return np.stack([expm(-rate * t) @ (w0 - best) + best for t in ts])


def flow_of_linear(seed, ts, **options):
    a, y, w0 = linear_problem(seed)
    loss = sj.squared_loss(linear_model, jnp.asarray(a), jnp.asarray(y))
    return sj.gradient_flow(loss, jnp.asarray(w0), 3.0, saveat=ts, **options)


# Neither equidistant, nor from 0, nor up to t1.
TS = np.array([0.1, 0.25, 1.0, 1.1, 2.5])


@pytest.mark.parametrize("solver", ["rkc2", "tsit5"])
def test_linear_model_follows_the_matrix_exponential(solver):
    exact = linear_solution(*linear_problem(0), TS)
    error = {}
    for rtol in (1e-4, 1e-8):
        flow = flow_of_linear(0, TS, solver=solver, rtol=rtol)
        assert flow.status == "completed" and float(flow.status_time) == 2.5
        np.testing.assert_array_equal(flow.ts, TS)
        error[rtol] = np.abs(np.asarray(flow.params) - exact).max()
    assert error[1e-8] < 5e-6
    assert error[1e-8] < 0.01 * error[1e-4]
    assert flow.stats["solver"] == solver and flow.stats["rtol"] == 1e-8
    assert flow.stats["gradient_evaluations"] >= flow.stats["steps"] > 5

    # Another data set and another tolerance of the same shapes are the same program.
    before = len(TRACES)
    other = flow_of_linear(1, TS + 0.01, solver=solver, rtol=1e-6)
    assert len(TRACES) == before
    exact = linear_solution(*linear_problem(1), TS + 0.01)
    np.testing.assert_allclose(other.params, exact, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"solver": "rkc2", "rtol": 1e-5}, {"solver": "rk4", "dt": 0.2}]
)
def test_the_error_estimate_is_the_error(options):
    flow = flow_of_linear(0, TS, error_estimate=True, **options)
    errors = np.linalg.norm(flow.params - linear_solution(*linear_problem(0), TS), axis=1)
    np.testing.assert_allclose(flow.global_errors, errors, rtol=0.25)
    assert flow.warnings == ()
    more = flow.stats["error_estimate_gradient_evaluations"]
    assert more > flow.stats["gradient_evaluations"]
    assert flow_of_linear(0, TS, **options).global_errors is None


def test_a_flow_that_loses_energy_says_so():
    (warning,) = flow_of_linear(0, TS, solver="euler", dt=0.2).warnings
    assert "the energy identity is off by" in warning


def linear_end(w, a, y, **options):
    loss = sj.squared_loss(linear_model, a, y)
    return sj.gradient_flow(loss, w, 3.0, saveat=TS, rtol=1e-7, **options).params[-1]


def linear_change():
    """A direction in (w, a, y), and the derivative of the exact end by central differences."""
    point, rng = linear_problem(0), np.random.default_rng(9)
    a, y, w = ((x, rng.normal(size=x.shape)) for x in point)

    def end(s):
        return linear_solution(*(x + s * d for x, d in (a, y, w)), TS[-1:])[0]

    return jax.tree.map(jnp.asarray, (w, a, y)), (end(1e-5) - end(-1e-5)) / 2e-5


def test_forward_derivative_in_parameters_and_data_is_that_of_the_exact_flow():
    pairs, expected = linear_change()
    points, directions = zip(*pairs, strict=True)
    _, found = jax.jvp(lambda *at: linear_end(*at, solver="rkc2"), points, directions)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["rock4", "tsit5"])
def test_reverse_derivative_in_parameters_and_data_is_that_of_the_exact_flow(solver):
    pairs, expected = linear_change()
    points, directions = zip(*pairs, strict=True)
    weights = np.array([1.0, -2.0, 0.5, 3.0])
    gradients = jax.grad(
        lambda *at: linear_end(*at, solver=solver, derivative="reverse", max_steps=200) @ weights,
        argnums=(0, 1, 2),
    )(*points)
    found = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
    np.testing.assert_allclose(found, weights @ expected, rtol=1e-4)
    with pytest.raises(ValueError, match="'kvaerno5' differentiates forward alone"):
        linear_end(*points, solver="kvaerno5", derivative="reverse")


@pytest.mark.parametrize("rule, order, dts", [("euler", 1, 0.02), ("rk4", 4, 0.2)])
def test_fixed_steps_converge_at_their_order(rule, order, dts):
    exact = linear_solution(*linear_problem(0), TS[-1:])[0]
    errors, sizes = [], dts / 2.0 ** np.arange(4)
    for number, dt in enumerate(sizes):
        before = len(TRACES)
        flow = flow_of_linear(0, TS, solver=rule, dt=dt)
        assert number == 0 or len(TRACES) == before
        assert flow.status == "completed"
        errors.append(np.abs(np.asarray(flow.params[-1]) - exact).max())
    slopes = np.diff(np.log(errors)) / np.diff(np.log(sizes))
    np.testing.assert_allclose(slopes[1:], order, atol=0.1 * order)


def test_fixed_steps_divide_the_gaps_between_saved_times():
    flow = flow_of_linear(0, np.array([0.0, 0.3, 0.35, 1.0]), solver="euler", dt=0.1)
    # Gaps 0.3, 0.05 and 0.65 take 3, 1 and 7 steps of at most 0.1.
    assert flow.stats["steps"] == 11
    a, y, w = linear_problem(0)
    for h, count in ((0.1, 3), (0.05, 1), (0.65 / 7, 7)):
        for _ in range(count):
            w = w - h * 2 * a.T @ (a @ w - y) / 6
    np.testing.assert_allclose(flow.final, w, rtol=1e-12)
    assert flow.stats["gradient_evaluations"] == 11


def test_balanced_deep_linear_modes():
    s, a0 = np.array([3.0, 1.5, 0.7]), np.array([0.01, 0.05, 0.2])
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    left, right = rotation, rotation.T @ rotation.T
    target = jnp.asarray(left @ np.diag(s) @ right)

    def loss(w):
        return 0.5 * jnp.sum((target - w["second"] @ w["first"]) ** 2)

    # W1 = R sqrt(a0) V^T and W2 = U sqrt(a0) R^T: balanced, with a hidden rotation R.
    hidden = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    start = {
        "first": jnp.asarray(hidden @ np.diag(np.sqrt(a0)) @ right),
        "second": jnp.asarray(left @ np.diag(np.sqrt(a0)) @ hidden.T),
    }
    ts = np.linspace(0, 3, 13)
    flow = sj.gradient_flow(loss, start, 3.0, saveat=ts, solver="rk4", dt=0.01)
    product = np.einsum("tij,tjk->tik", flow.params["second"], flow.params["first"])
    modes = np.einsum("ia,tij,bj->tab", left, product, right)
    grown = np.exp(2 * s * ts[:, None])
    exact = s * grown / (grown - 1 + s / a0)
    np.testing.assert_allclose(np.einsum("taa->ta", modes), exact, atol=1e-6)
    off_diagonal = modes * (1 - np.eye(3))
    np.testing.assert_allclose(off_diagonal, 0, atol=1e-9)
    np.testing.assert_allclose(flow.losses, 0.5 * np.sum((s - exact) ** 2, axis=1), atol=1e-6)


X = np.random.default_rng(3).normal(size=(10, 3))
Y = np.stack([np.sin(X[:, 0] * X[:, 1]), X[:, 2]], axis=1)
RELU = sj.graphs.mlp(inputs=3, hidden=2, outputs=2, activation="relu")
ENSEMBLE_TS = np.linspace(0, 1.0, 6)


@eqx.filter_vmap
def draw(number):
    key = jax.random.fold_in(jax.random.key(0), number)
    lift = sj.random_sparse_lift(key, RELU, sizes=6, in_degree=3)
    return lift, lift.init(key, bias_scale=0.5)


def lane(tree, number):
    return jax.tree.map(lambda leaf: leaf[number], tree)


# Drawn under vmap, all wirings have the same shapes.
LIFTS, PARAMS = draw(jnp.arange(3))
RELU_LIFTS = [lane(LIFTS, n) for n in range(3)]
RELU_PARAMS = [lane(PARAMS, n) for n in range(3)]


class Counted(eqx.Module):
    lift: sj.Lift

    def __call__(self, params, x):
        TRACES.append("lift")
        return self.lift.apply(params, x)


def relu_flow(lift, params):
    loss = sj.squared_loss(Counted(lift), jnp.asarray(X), jnp.asarray(Y))
    return sj.gradient_flow(
        loss, params, 1.0, saveat=ENSEMBLE_TS, solver="rk4", dt=2e-3, probes=PROBES
    )


PROBES = {"twice": lambda t, p: 2 * t, "bias": lambda t, p: p["one->y"].sum()}


@pytest.fixture(scope="module")
def relu_flows():
    first = relu_flow(RELU_LIFTS[0], RELU_PARAMS[0])
    before = len(TRACES)
    flows = [first, *map(relu_flow, RELU_LIFTS[1:], RELU_PARAMS[1:])]
    assert len(TRACES) == before, "another wiring of equal shape compiled again"
    return flows


def vertex_norms(lift, params, vertex):
    """`||w_in||^2 + b^2` and `||w_out||^2` of every lifted vertex, summed edge by edge."""
    into, out = np.zeros(lift.sizes[vertex]), np.zeros(lift.sizes[vertex])
    for edge in lift.module.edges:
        wiring, w = lift.wirings[edge.name], np.asarray(params[edge.name])
        for slot in range(w.shape[0]):
            for target in range(w.shape[1]):
                dense = not hasattr(wiring, "predecessors")
                if not dense and not wiring.present[slot, target]:
                    continue
                source = slot if dense else int(wiring.predecessors[slot, target])
                square = np.sum(w[slot, target] ** 2)
                if edge.target == vertex:
                    into[target] += square
                if edge.source == vertex:
                    out[source] += square
    return into, out


def test_relu_vertices_conserve_the_difference_of_their_norms(relu_flows):
    for lift, flow in zip(RELU_LIFTS, relu_flows, strict=True):
        assert flow.status == "completed"
        for vertex in ("h1", "h2"):
            into0, out0 = vertex_norms(lift, flow.at(0), vertex)
            into1, out1 = vertex_norms(lift, flow.final, vertex)
            np.testing.assert_allclose(into1 - out1, into0 - out0, atol=2e-5)
            assert np.abs(into1 - into0).max() > 0.01, "nothing moved: nothing was tested"


def test_energy_path_and_probes_of_a_flow(relu_flows):
    flow = relu_flows[0]
    np.testing.assert_allclose(flow.energy_defect, 0, atol=1e-5 * float(flow.losses[0]))
    assert float(flow.losses[0] - flow.losses[-1]) > 0.1 * float(flow.losses[0])
    start = RELU_PARAMS[0]
    for index in range(len(ENSEMBLE_TS)):
        moved = jax.tree.map(jnp.subtract, flow.at(index), start)
        distance = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(moved)))
        assert distance <= float(flow.path_lengths[index]) + 1e-6
    np.testing.assert_array_equal(flow.ts, ENSEMBLE_TS)
    np.testing.assert_allclose(flow.probes["twice"], 2 * ENSEMBLE_TS)
    np.testing.assert_array_equal(flow.probes["bias"], flow.params["one->y"].sum(axis=(1, 2, 3)))
    loss = sj.squared_loss(RELU_LIFTS[0].apply, jnp.asarray(X), jnp.asarray(Y))
    value, gradient = jax.jit(jax.value_and_grad(loss))(flow.at(2))
    norm = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient)))
    np.testing.assert_allclose([flow.losses[2], flow.grad_norms[2]], [value, norm], rtol=1e-10)


def test_an_ensemble_of_wirings_flows_in_one_call(relu_flows):
    before = len(TRACES)
    many = eqx.filter_vmap(relu_flow)(LIFTS, PARAMS)
    traced_for_three = len(TRACES) - before
    assert list(many.status) == ["completed"] * 3
    assert many.losses.shape == (3, len(ENSEMBLE_TS))
    for number, flow in enumerate(relu_flows):
        for one, all_ in zip(
            jax.tree.leaves(flow.params), jax.tree.leaves(many.params), strict=True
        ):
            np.testing.assert_allclose(all_[number], one, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(many.losses[number], flow.losses, rtol=1e-10)
        np.testing.assert_allclose(many.status_time[number], 1.0)
        assert many.stats["steps"].shape == (3,)
    assert traced_for_three < 3 * 10


def test_linear_layers_conserve_a_matrix():
    module = sj.graphs.mlp(inputs=3, hidden=2, outputs=2, activation="identity", bias=False)
    lift = sj.dense_lift(module, sizes=4)
    loss = sj.squared_loss(lift.apply, jnp.asarray(X), jnp.asarray(Y))
    start = lift.init(jax.random.key(0))
    flow = sj.gradient_flow(loss, start, 2.0, saveat=np.array([0, 2.0]), solver="rk4", dt=2e-3)

    def matrices(p):
        # Slots are sources: rows of each matrix are targets.
        first, second = np.asarray(p["x->h1"])[0], np.asarray(p["h1->h2"]).T
        third = np.moveaxis(np.asarray(p["h2->y"])[:, 0], 0, -1)
        return first, second, third.reshape(2, 4)

    before, after = matrices(flow.at(0)), matrices(flow.final)
    composed = np.linalg.multi_dot([after[2], after[1], after[0]])
    np.testing.assert_allclose(lift.apply(flow.final, jnp.asarray(X)), X @ composed.T, atol=1e-12)
    for lower in (0, 1):
        invariants = [
            w[lower + 1].T @ w[lower + 1] - w[lower] @ w[lower].T for w in (before, after)
        ]
        np.testing.assert_allclose(invariants[1], invariants[0], atol=1e-7)
        assert np.abs(after[lower] - before[lower]).max() > 0.05


def test_one_parameter_closed_forms_of_path_length_and_dissipation():
    ts = np.linspace(0, 2, 9)
    flow = sj.gradient_flow(
        lambda w: 0.5 * w**2, jnp.asarray(-2.0), 2.0, saveat=ts, solver="rk4", dt=0.01
    )
    np.testing.assert_allclose(flow.path_lengths, 2 * (1 - np.exp(-ts)), atol=1e-8)
    np.testing.assert_allclose(flow.dissipation, 2 * (1 - np.exp(-2 * ts)), atol=1e-8)
    np.testing.assert_allclose(flow.grad_norms, 2 * np.exp(-ts), atol=1e-8)


class Landscape(eqx.Module):
    """`quartic w^4 + linear w`, which is defined (and so is its gradient) for `w > 0` alone."""

    quartic: jax.Array
    linear: jax.Array

    def __call__(self, w):
        return jnp.sum(self.quartic * w**4 + self.linear * w + 0 * jnp.sqrt(w))


def landscape_flow(quartic, linear, start, **options):
    loss = Landscape(jnp.asarray(quartic), jnp.asarray(linear))
    options = {"solver": "tsit5", "saveat": np.linspace(0, 1, 11), "probes": PROBES2} | options
    return sj.gradient_flow(loss, jnp.asarray([start]), 1.0, **options)


PROBES2 = {"t": lambda t, w: t}


def assert_nan_behind(flow, shown):
    """The first `shown` rows are numbers, whatever is behind them is NaN."""
    columns = [flow.losses, flow.grad_norms, flow.path_lengths, flow.dissipation, flow.params[:, 0]]
    for column in [*columns, *flow.probes.values()]:
        np.testing.assert_array_equal(np.isfinite(column), np.arange(11) < shown)
        assert np.isnan(np.asarray(column)[shown:]).all()


@pytest.mark.parametrize("solver", ["tsit5", None])
def test_a_blow_up_in_finite_time_has_diverged(solver):
    # w' = 4 w^3 from 1: w = (1 - 8 t)^(-1/2), infinite at t = 1/8.
    flow = landscape_flow(-1.0, 0.0, 1.0, solver=solver)
    assert flow.status == "diverged"
    np.testing.assert_allclose(flow.status_time, 0.125, rtol=1e-3)
    assert_nan_behind(flow, shown=2)
    np.testing.assert_allclose(flow.params[1], (1 - 0.8) ** -0.5, rtol=1e-4)


def test_a_loss_that_is_nan_at_the_start():
    flow = landscape_flow(1.0, 0.0, -1.0)
    assert flow.status == "nan" and float(flow.status_time) == 0.0
    assert_nan_behind(flow, shown=0)


def test_a_lane_that_fails_leaves_the_others_alone():
    starts = jnp.array([0.5, -1.0, 2.0])
    flows = eqx.filter_vmap(lambda start: landscape_flow(1.0, 0.0, start))(starts)
    assert list(flows.status) == ["completed", "nan", "completed"]
    np.testing.assert_array_equal(flows.status_time, [1, 0, 1])
    # w' = -4 w^3: w = (w_0^-2 + 8 t)^(-1/2).
    exact = (np.asarray(starts)[:, None] ** -2 + 8 * np.linspace(0, 1, 11)) ** -0.5
    np.testing.assert_allclose(flows.params[::2, :, 0], exact[::2], rtol=1e-4)
    assert np.isnan(flows.losses[1]).all()


def test_a_flow_into_the_edge_of_the_domain_ends_there():
    # w' = -2 from 0.5: no step beyond t = 1/4 is defined.
    flow = landscape_flow(0.0, 2.0, 0.5)
    assert flow.status == "step_size_underflow"
    np.testing.assert_allclose(flow.status_time, 0.25, rtol=1e-6)
    assert_nan_behind(flow, shown=3)


def test_failures_before_the_first_saved_time_have_their_own_names():
    late = np.linspace(0.5, 1.0, 11)
    assert landscape_flow(-1.0, 0.0, 1.0, saveat=late).status == "diverged"
    flow = landscape_flow(0.0, 2.0, 0.5, saveat=late)
    assert flow.status == "step_size_underflow"
    np.testing.assert_allclose(flow.status_time, 0.25, rtol=1e-6)
    assert_nan_behind(flow, shown=0)


def test_an_exhausted_step_budget():
    flow = landscape_flow(1.0, 0.0, 1.0, max_steps=8, rtol=1e-9)
    assert flow.status == "step_budget_exhausted"
    reached = float(flow.status_time)
    assert 0 < reached < 1
    assert_nan_behind(flow, shown=int(np.sum(np.linspace(0, 1, 11) <= reached)))
    fixed = landscape_flow(1.0, 0.0, 1.0, solver="rk4", dt=0.01, max_steps=35)
    assert fixed.status == "step_budget_exhausted"
    np.testing.assert_allclose(fixed.status_time, 0.3)
    assert fixed.stats["steps"] == 30 and fixed.stats["gradient_evaluations"] == 120
    assert_nan_behind(fixed, shown=4)
    enough = landscape_flow(1.0, 0.0, 1.0, solver="rk4", dt=0.01, max_steps=100)
    assert enough.status == "completed" and enough.stats["steps"] == 100
    # A gap of more steps than a 32-bit integer holds is out of budget, not out of range.
    tiny = landscape_flow(1.0, 0.0, 1.0, solver="rk4", dt=1e-12)
    assert tiny.status == "step_budget_exhausted" and tiny.stats["steps"] == 0


def test_fixed_steps_name_divergence_and_nan_with_their_times():
    quadratic = sj.squared_loss(linear_model, jnp.ones((1, 1)), jnp.zeros(1))
    # Steps of 1.5 on curvature 2 multiply w by -2 each: the loss passes 1e6 (L0 + 1) at step 11.
    ts = 1.5 * np.arange(21)
    flow = sj.gradient_flow(quadratic, jnp.ones(1), ts[-1], saveat=ts, solver="euler", dt=1.5)
    assert flow.status == "diverged" and float(flow.status_time) == ts[11]
    assert np.isfinite(flow.losses[:11]).all() and np.isnan(flow.losses[11:]).all()
    # Overflow between two saved times: w = 2^k and its loss leave float64 after 511 to 1024 steps.
    far = np.array([0.0, 3000.0])
    flow = sj.gradient_flow(quadratic, jnp.ones(1), far[-1], saveat=far, solver="euler", dt=1.5)
    assert flow.status == "diverged"
    assert 500 * 1.5 < float(flow.status_time) < 1025 * 1.5
    assert np.isnan(flow.losses[1])
    # Euler steps of 0.1 from 0.5 along w' = -1.9 land below 0 at the third step.
    flow = landscape_flow(0.0, 1.9, 0.5, solver="euler", dt=0.1)
    assert flow.status == "nan"
    np.testing.assert_allclose(flow.status_time, 0.3)
    assert_nan_behind(flow, shown=3)


def test_a_loss_that_turns_nan_where_its_gradient_does_not():
    def loss(w):
        return jnp.sum(jnp.where(w > 0.45, w, jnp.nan * jax.lax.stop_gradient(w)))

    ts = np.linspace(0, 1, 11)
    flow = sj.gradient_flow(loss, jnp.ones(1), 1.0, saveat=ts, solver="euler", dt=0.1)
    assert flow.status == "nan"
    np.testing.assert_allclose(flow.status_time, 0.6)
    assert_nan_behind(flow, shown=6)


@pytest.mark.slow
def test_float32_stays_float32():
    a, y, w0 = (array.astype(np.float32) for array in linear_problem(0))
    loss = sj.squared_loss(linear_model, jnp.asarray(a), jnp.asarray(y))
    exact = linear_solution(*linear_problem(0), TS)
    for options in ({"rtol": 1e-9}, {"solver": "rk4", "dt": 0.1}):
        flow = sj.gradient_flow(loss, jnp.asarray(w0), 3.0, saveat=TS, **options)
        assert flow.status == "completed"
        # What cannot be resolved is said.
        assert len(flow.warnings) == ("rtol" in options)
        assert all("below what float32 resolves" in warning for warning in flow.warnings)
        arrays = [flow.ts, flow.params, flow.losses, flow.path_lengths, flow.dissipation]
        assert {array.dtype for array in arrays} == {jnp.dtype("float32")}
        np.testing.assert_allclose(flow.params, exact, atol=2e-3)
    # 0.1 in float32 times a whole number: the gaps are still whole numbers of steps.
    flow = sj.gradient_flow(
        loss, jnp.asarray(w0), 3.0, saveat=np.arange(31) / 10, solver="rk4", dt=0.1
    )
    assert flow.stats["steps"] == 30


@pytest.mark.parametrize(
    "t1, options, message",
    [
        (0.0, {}, "t1 must be positive"),
        (np.inf, {}, "t1 must be positive"),
        (1.0, {"saveat": np.array([])}, "non-empty"),
        (1.0, {"saveat": np.array([0.0, 0.5, 0.5])}, "strictly increasing"),
        (1.0, {"saveat": np.array([np.nan])}, "finite"),
        (1.0, {"saveat": np.array([-0.1, 0.5])}, "outside"),
        (1.0, {"saveat": np.array([0.5, 1.5])}, "outside"),
        (1.0, {"rtol": 0.0}, "tolerances must be positive"),
        (1.0, {"atol": -1.0}, "tolerances must be positive"),
        (1.0, {"solver": "ode45"}, "unknown solver 'ode45'; known are rkc2"),
        (1.0, {"solver": "euler"}, "give dt"),
        (1.0, {"solver": "rk4", "dt": -0.1}, "dt must be positive"),
        (1.0, {"dt": np.nan}, "dt must be positive"),
        (1.0, {"max_steps": 0}, "max_steps must be positive"),
    ],
)
def test_bad_input_is_refused_before_any_compute(t1, options, message):
    def loss(w):
        raise AssertionError("computed")

    with pytest.raises(ValueError, match=message):
        sj.gradient_flow(loss, jnp.ones(2), t1, **options)


def test_a_probe_that_is_no_function_is_refused():
    # The type check of the tests has its own word on it: the message is that of users.
    with pytest.raises(ValueError, match="probe 'p' must be a function"):
        inspect.unwrap(checked_probes)({"p": 3})


def test_parameters_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match=r"params\['w'\] is not finite at index \(1,\)"):
        sj.gradient_flow(lambda p: jnp.sum(p["w"]), {"w": jnp.array([0.0, jnp.inf])}, 1.0)
