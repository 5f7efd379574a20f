"""Online ensembles against hand-written loops, closed forms of hitting times, and invariances."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sparsejax.dynamics import finite, fresh, half_squared, hinge, online_ensemble
from sparsejax.dynamics.batch_streams import Stream

ETA, BATCH, DIMS, WIDTH = 0.1, 4, 3, 5
SGD = optax.sgd(ETA)
KEYS = jax.random.split(jax.random.key(0), 4)


class Network(eqx.Module):
    """A network whose wiring, an array of its own for each lane, permutes the inputs."""

    wiring: jax.Array

    def __call__(self, params, x):
        return jnp.tanh(x[:, self.wiring] @ params["w"]) @ params["a"]


def build(key):
    keys = jax.random.split(key, 3)
    params = {
        "w": jax.random.normal(keys[0], (DIMS, WIDTH)),
        "a": jax.random.normal(keys[1], (WIDTH, 1)),
    }
    return Network(jax.random.permutation(keys[2], DIMS)), params


def sample(key, n, dtype=float):
    x = jax.random.normal(key, (n, DIMS), dtype)
    return x, x[:, :1] * x[:, 1:2]


def first_row(f, params):
    return params["w"][0]


class Total(eqx.Module):
    """A probe with evaluation inputs."""

    x: jax.Array

    def __call__(self, f, params):
        return f(params, self.x).sum()


STREAM = fresh(sample, BATCH)
PROBES = {"row": first_row, "total": Total(jnp.ones((2, DIMS)))}


@pytest.fixture(scope="module")
def runs():
    return online_ensemble(build, STREAM, SGD, 6, KEYS, probes=PROBES, record_every=2)


def by_hand(key, steps, every):
    """One lane in NumPy: end, mean losses of the chunks, the probe."""
    build_key, stream_key, data_key = jax.random.split(key, 3)
    f, params = build(build_key)
    source, wiring = STREAM(stream_key), np.asarray(f.wiring)
    w, a = np.asarray(params["w"]), np.asarray(params["a"])
    losses, rows, chunk = [], [w[0]], []
    for step in range(steps):
        x, y = source(jax.random.fold_in(data_key, step), jnp.int32(step))
        x, y = np.asarray(x)[:, wiring], np.asarray(y)
        hidden = np.tanh(x @ w)
        error = hidden @ a - y
        chunk.append(np.mean(error**2) / 2)
        if step == 0:
            losses.append(chunk[0])
        to_a = hidden.T @ error / BATCH
        to_w = x.T @ ((error @ a.T) * (1 - hidden**2)) / BATCH
        w, a = w - ETA * to_w, a - ETA * to_a
        if (step + 1) % every == 0:
            losses.append(np.mean(chunk))
            rows.append(w[0])
            chunk = []
    return {"w": w, "a": a}, losses, rows


def test_lanes_are_the_hand_written_loop(runs):
    np.testing.assert_array_equal(runs.steps, [0, 2, 4, 6])
    assert runs.status.tolist() == ["completed"] * 4 and runs.steps_run.tolist() == [6] * 4
    for lane in (0, 3):
        end, losses, rows = by_hand(KEYS[lane], 6, 2)
        np.testing.assert_allclose(runs.params["w"][lane], end["w"], rtol=1e-10)
        np.testing.assert_allclose(runs.params["a"][lane], end["a"], rtol=1e-10)
        np.testing.assert_allclose(runs.losses[lane], losses, rtol=1e-10)
        np.testing.assert_allclose(runs.probes["row"][lane], rows, rtol=1e-10)


def test_functions_come_back_with_their_wirings(runs):
    x = jnp.ones((2, DIMS))
    outputs = eqx.filter_vmap(lambda f, params: f(params, x).sum())(runs.f, runs.params)
    np.testing.assert_allclose(outputs, runs.probes["total"][:, -1], rtol=1e-12)


@pytest.mark.parametrize("chosen, options", [([2, 0], {}), ([3, 2, 1], {"side_by_side": 2})])
def test_a_lane_does_not_depend_on_its_company(runs, chosen, options):
    some = online_ensemble(
        build, STREAM, SGD, 6, KEYS[np.array(chosen)], probes=PROBES, record_every=2, **options
    )
    for found, expected in zip(
        jax.tree.leaves((some.losses, some.probes, some.params)),
        jax.tree.leaves((runs.losses, runs.probes, runs.params)),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected[np.array(chosen)], rtol=1e-11, atol=1e-13)


class Rate(eqx.Module):
    """One weight `u` from 1, whose loss is `rate u^2 / 2` for a rate that the key decides."""

    rate: jax.Array

    def __call__(self, u, x):
        return jnp.sqrt(self.rate) * u * x


RATES = jnp.array([0.5, 1.0, 30.0])


def decay(key):
    # The lane's number is in its key's data: rates that differ as we like.
    return Rate(RATES[jax.random.key_data(key)[..., -1] % 3]), jnp.ones(())


def ones(key, n, dtype=float):
    return jnp.ones((n, 1), dtype), jnp.zeros((n, 1), dtype)


def keys_by_rate():
    """Keys of lanes whose build draws the rates 0, 1 and 2."""
    keys = jax.random.split(jax.random.key(1), 40)
    builds = jax.vmap(lambda key: jax.random.split(key, 3)[0])(keys)
    kinds = np.asarray(jax.random.key_data(builds)[:, -1] % 3)
    return keys[np.array([np.flatnonzero(kinds == k)[0] for k in range(3)])]


def weight(f, u):
    return u


def test_hitting_times_ends_and_failures_are_each_lane_s_own():
    """`u_k = (1 - eta rate)^k`, linear between records; the third lane grows 200 % a step."""
    levels = np.array([0.5, 0.25, 0.1])
    runs = online_ensemble(
        decay,
        fresh(ones, 2),
        SGD,
        40,
        keys_by_rate(),
        probes={"u": weight, "copies": lambda f, u: jnp.stack([u, u, u])},
        record_every=4,
        reach={"quarter": ("u", 0.25, "below"), "each": ("copies", levels, "below")},
    )
    records = np.arange(0, 41, 4)
    for lane, rate in enumerate((0.5, 1.0)):
        curve = (1 - ETA * rate) ** records
        # np.interp wants rising abscissae.
        expected = np.interp(-levels, -curve, records, right=np.inf)
        np.testing.assert_allclose(runs.hitting["each"][lane], expected, rtol=1e-12)
        np.testing.assert_allclose(runs.hitting["quarter"][lane], expected[1], rtol=1e-12)
        shown = curve.copy()
        if np.isfinite(expected).all():
            last = int(np.ceil(expected.max() / 4)) * 4
            shown[records > last] = np.nan
            assert runs.steps_run[lane] == last
        np.testing.assert_allclose(runs.probes["u"][lane], shown, rtol=1e-12)
    assert runs.status.tolist() == ["completed", "reached", "diverged"]
    assert np.isinf(runs.hitting["each"][2]).all() and runs.steps_run[2] < 40
    assert np.isnan(runs.losses[2, int(runs.steps_run[2]) // 4 :]).all()


def test_a_lane_of_nan_says_so_and_an_event_met_at_the_start_costs_no_step():
    runs = online_ensemble(
        lambda key: ((lambda u, x: jnp.sqrt(u) * x), -jnp.ones(())),
        fresh(ones, 2),
        SGD,
        8,
        KEYS[:1],
        record_every=4,
    )
    assert runs.status.tolist() == ["nan"] and runs.steps_run.tolist() == [4]
    runs = online_ensemble(
        decay,
        fresh(ones, 2),
        SGD,
        8,
        KEYS[:2],
        probes={"u": weight},
        record_every=4,
        reach={"one": ("u", 1.0, "above")},
    )
    assert runs.status.tolist() == ["reached"] * 2 and runs.steps_run.tolist() == [0, 0]
    assert (runs.hitting["one"] == 0).all() and np.isnan(runs.losses[:, 1:]).all()


def test_new_keys_and_thresholds_do_not_compile_anew():
    traced = []

    def build(key):
        traced.append(key)
        return Rate(jnp.ones(())), jnp.ones(())

    def go(keys, level):
        return online_ensemble(
            build,
            fresh(ones, 2),
            SGD,
            4,
            keys,
            probes={"u": weight},
            record_every=4,
            reach={"level": ("u", level, "below")},
        )

    go(KEYS[:2], 0.5)
    before = len(traced)
    go(KEYS[2:], 0.25)
    assert len(traced) == before + 1  # the look at shapes, before any compute


def test_fixed_samples_are_drawn_once_a_lane_and_differ_between_lanes():
    sources = [finite(sample, 3, 2)(key) for key in KEYS[:2]]
    sets = [np.asarray(source.x) for source in sources]
    assert not np.allclose(sets[0], sets[1])
    drawn = np.concatenate([sources[0](KEYS[0], jnp.int32(k))[0] for k in range(12)])
    assert {tuple(row) for row in drawn} == {tuple(row) for row in sets[0]}
    whole = finite(sample, 3, 3)(KEYS[0])
    np.testing.assert_array_equal(whole(KEYS[1], jnp.int32(5))[0], whole.x)
    epoch = finite(sample, 4, 2, law="epochs")(KEYS[0])
    rows = np.concatenate([epoch(KEYS[0], jnp.int32(k))[0] for k in range(2)])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(epoch.x, axis=0))


def test_half_precision_of_the_default_is_kept_throughout():
    runs = online_ensemble(
        build,
        fresh(sample, 2, "float32"),
        SGD,
        2,
        KEYS[:1],
        probes={"row": first_row},
        record_every=2,
        dtype="float32",
    )
    kinds = {leaf.dtype for leaf in jax.tree.leaves((runs.params, runs.losses, runs.probes))}
    assert kinds == {jnp.dtype("float32")}


def test_streams_compare_by_value():
    from fractions import Fraction

    assert fresh(Fraction(1, 2).limit_denominator, 3) == fresh(Fraction(2, 4).limit_denominator, 3)
    assert isinstance(STREAM, Stream) and hash(STREAM) == hash(fresh(sample, BATCH))


def test_losses_of_samples():
    outputs, y = jnp.array([[0.5], [-2.0]]), jnp.array([[1.0], [1.0]])
    np.testing.assert_allclose(hinge(outputs, y), [0.5, 3.0])
    np.testing.assert_allclose(half_squared(outputs, y), [0.125, 4.5])


@pytest.mark.parametrize(
    "change, said",
    [
        ({"steps": 0}, "steps must be positive"),
        ({"record_every": 4}, "multiple of record_every"),
        ({"keys": jnp.zeros(3)}, "keys: one key a lane"),
        ({"keys": KEYS[0]}, "keys: one key a lane"),
        ({"devices": ()}, "devices is empty"),
        ({"side_by_side": 0}, "side_by_side must be positive"),
        ({"dtype": "int32"}, "float32 or float64, not int32"),
        ({"probes": {"row": 3}}, "probe 'row' must be a function"),
        ({"reach": {"up": ("none", 1.0, "above")}}, "there is no probe 'none'; there are row"),
        ({"reach": {"up": ("row", 1.0, "over")}}, "'above' or 'below', not 'over'"),
        ({"reach": {"up": ("row", np.nan, "above")}}, "threshold must be finite"),
        ({"reach": {"up": ("row", np.ones(7), "above")}}, "do not fit the probe 'row'"),
        ({"loss": lambda f, y: jnp.mean(f - y)}, "loss must give one number a sample"),
        ({"stream": fresh(lambda key, n: (jnp.ones((n, 3)), jnp.ones(n)), 4)}, "f gives outputs"),
    ],
)
def test_bad_input_is_refused(change, said):
    given = {
        "build": build,
        "stream": STREAM,
        "optimizer": SGD,
        "steps": 6,
        "keys": KEYS,
        "probes": {"row": first_row},
        "record_every": 2,
    }
    with pytest.raises(ValueError, match=said):
        online_ensemble(**given | change)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: fresh(sample, 0), "batch must be positive"),
        (lambda: finite(sample, 3, 4), r"batch must lie in \[1, samples\]"),
        (lambda: finite(sample, 3, 2, law="some"), "law is one of epochs"),
    ],
)
def test_bad_streams_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
