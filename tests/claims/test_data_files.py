"""A user's file in place of bundled data: the claims that take one, and what their runs keep."""

import dataclasses
import json

import numpy as np
import pytest

from sparsejax import cli
from sparsejax.claims import CLAIMS
from sparsejax.claims.pac import PacSetting, check_pac_setting
from sparsejax.claims.setting import LiftSetting, check_setting
from sparsejax.runs import FolderError
from sparsejax.runs.data_file import data_file
from sparsejax.runs.store import RunFolder

RNG = np.random.default_rng(0)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.csv"
    rows = [f"{a:.6f},{k % 3},7,{a * a:.6f}\n" for k, a in enumerate(RNG.normal(size=40))]
    path.write_text("a,b,same,y\n" + "".join(rows))
    return path


def test_every_claim_with_data_has_a_target_beside():
    takes = [name for name in CLAIMS if "data" in {f.name for f in fields(name)}]
    assert {"tangent-approximation", "pac-convergence", "sparsity-tradeoff", "dense-lifts"} <= set(
        takes
    )
    for name in takes:
        assert "target" in {f.name for f in fields(name)}, name


def fields(name):
    return dataclasses.fields(CLAIMS[name].Config)


def test_settings_learn_the_file(file):
    config = LiftSetting(data=str(file), target="y", in_degree=2)
    data = config.dataset()
    assert (data.dims, data.outputs, len(data.x_train), len(data.x_test)) == (2, 1, 30, 10)
    check_setting(config, (4,))
    classes = dataclasses.replace(config, target="b")
    assert classes.dataset().outputs == 3
    with pytest.raises(ValueError, match="has 3 classes, and this claim learns one output"):
        classes.dataset(single=True)
    with pytest.raises(ValueError, match="no column 'z' to be the target"):
        check_setting(dataclasses.replace(config, target="z"), (4,))
    with pytest.raises(ValueError, match="target: say which column of"):
        check_setting(dataclasses.replace(config, target=None), (4,))


def test_pac_settings_learn_the_file_in_place_of_their_targets(file):
    setting = PacSetting(data=str(file), target="y", samples=20, architectures=("mlp",))
    assert setting.learned == ("table",)
    data = setting.learning_data("table")
    assert data.x.shape == (20, 2) and not data.population and len(data.fresh[0][0]) == 10
    check_pac_setting(setting)
    for change, said in (
        ({"target": "b"}, "has 3 classes, and one output is learned"),
        ({"data": None}, "'y' is a column of a file"),
        ({"data": "diabetes"}, "is no file; bundled data are named by targets"),
        ({"samples": 31}, "has 30 training samples; 31 were asked for"),
    ):
        with pytest.raises(ValueError, match=said):
            check_pac_setting(dataclasses.replace(setting, **change))
    discrete = CLAIMS["discrete-time-pac"]
    with pytest.raises(ValueError, match="a file has no fresh samples"):
        discrete.validate(discrete.Config(data=str(file), target="y"))


def test_a_run_keeps_the_file_s_checksum_and_goes_on_with_no_other(file, tmp_path):
    config = LiftSetting(data=str(file), target="y")
    record = data_file(config)
    assert (record["rows"], record["columns"], record["target"]) == (40, ["a", "b"], "y")
    assert record["warnings"] == ["column 'same' has one value only, 7: left out"]
    assert data_file(LiftSetting(data="diabetes")) is None

    def header():
        return {
            **{"claim": "c", "control": False, "config": config, "requested": config},
            **{"environment": {"dtype": "float64"}, "data_file": data_file(config)},
        }

    RunFolder.create(tmp_path / "run", header())
    kept = json.loads((tmp_path / "run" / "config.json").read_text())
    assert kept["data_file"]["sha256"] == record["sha256"]
    RunFolder.create(tmp_path / "run", header())
    file.write_text(file.read_text() + "1,1,7,1\n")
    with pytest.raises(FolderError, match="sha256 of the data: .* there"):
        RunFolder.create(tmp_path / "run", header())


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("", ["--target", "y"], "mine.csv is empty"),
        ("a,y\n1,2\n2,4\n", [], "target: say which column"),
        ("a,y\n1,2\n2,4\n", ["--target", "z"], "no column 'z'"),
        ("a,y\n1,2\n2,2\n", ["--target", "y"], "one value only"),
    ],
)
def test_the_command_refuses_what_cannot_be_learned(tmp_path, capsys, content, options, said):
    file = tmp_path / "mine.csv"
    file.write_text(content)
    out = str(tmp_path / "run")
    words = ["verify", "tangent-approximation", "--data", str(file), "--out", out, *options]
    assert cli.main(words) == cli.USAGE
    assert said in capsys.readouterr().err
