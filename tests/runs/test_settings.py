import json
import math
import shlex

import pytest
from hypothesis import given, strategies as st
from mean_claim import CLAIM, MeanConfig

from sparsejax.cli import _parse
from sparsejax.runs.settings import command_line, config_from_json, differences
from sparsejax.runs.strict_json import dumps, encode

FLOATS = st.floats(allow_nan=False)
CONFIGS = st.builds(
    MeanConfig,
    sizes=st.lists(st.integers(-3, 9), max_size=4).map(tuple),
    tolerance=FLOATS,
    level=st.none() | FLOATS,
    law=st.sampled_from(["uniform", "cauchy"]),
    centred=st.booleans(),
)


@given(CONFIGS)
def test_a_config_comes_back_from_json(config):
    assert config_from_json(MeanConfig, json.loads(dumps(config))) == config


@given(CONFIGS)
def test_a_config_comes_back_from_its_command_line(config):
    words = shlex.split(command_line("mean-near-half", config, control=True, out="a folder"))
    assert words[:3] == ["sparsejax", "verify", "mean-near-half"]
    options, parsed = _parse(CLAIM, words[3:])
    assert parsed == config
    assert options.control
    assert str(options.out) == "a folder"


def test_nan_comes_back_and_absent_fields_take_their_defaults():
    assert math.isnan(config_from_json(MeanConfig, {"tolerance": "nan"}).tolerance)
    assert config_from_json(MeanConfig, {"sizes": [3]}) == MeanConfig(sizes=(3,))


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"size": [3]}, "'size' is no field"),
        ({"sizes": 3}, "sizes = 3"),
        ({"sizes": [3.5]}, "sizes"),
        ({"sizes": [True]}, "sizes"),
        ({"tolerance": "wide"}, "tolerance = 'wide'"),
        ({"level": [1.0]}, "level"),
        ({"law": "normal"}, "law = 'normal'"),
        ({"centred": "yes"}, "centred"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_by_field(data, named):
    with pytest.raises(ValueError, match=named):
        config_from_json(MeanConfig, data)


def test_differences_name_the_fields_that_differ_and_no_others():
    there, here = encode(MeanConfig(sizes=(1, 2))), encode(MeanConfig(tolerance=math.inf))
    del here["law"]
    assert differences(there, here) == [
        "sizes: 1 2 there, 10 1000 here",
        "tolerance: 0.4 there, inf here",
        "law: uniform there, absent here",
    ]
    assert differences(here, here) == []
