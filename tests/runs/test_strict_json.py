import json
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.claims.claim import Trial
from sparsejax.runs.strict_json import dumps, encode


@pytest.mark.parametrize("kind", [float, np.float64, np.float32, jnp.asarray])
@pytest.mark.parametrize("name", ["inf", "-inf", "nan"])
def test_non_finite_numbers_are_strings(kind, name):
    assert encode({"x": [kind(float(name))]}) == {"x": [name]}


def test_what_a_strict_parser_reads_is_what_was_written():
    value = {
        "dataclass": Trial("a", {"size": 3}),
        "array": np.arange(6).reshape(2, 3),
        "jax": jnp.asarray([0.5, math.inf]),
        "scalars": (np.int64(3), np.bool_(True), np.float32(0.5), jnp.asarray(2)),
        "strings": np.array(["α", "b"]),
        "path": Path("results") / "x",
        "none": None,
    }

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(dumps(value), parse_constant=refuse) == {
        "dataclass": {"name": "a", "parameters": {"size": 3}},
        "array": [[0, 1, 2], [3, 4, 5]],
        "jax": [0.5, "inf"],
        "scalars": [3, True, 0.5, 2],
        "strings": ["α", "b"],
        "path": "results/x",
        "none": None,
    }


def test_finite_floats_come_back_to_the_last_bit():
    values = np.random.default_rng(0).normal(size=100) * 10.0 ** np.arange(-50, 50)
    assert json.loads(dumps(values)) == values.tolist()


@pytest.mark.parametrize("value", [{1: 2}, object(), {"x": {3, 4}}, np.array([None])])
def test_what_has_no_place_in_json_is_refused(value):
    with pytest.raises(TypeError):
        encode(value)
