"""`sparsejax target`: predictions from the command line."""

import json
import re

import pytest

from sparsejax import cli
from sparsejax.targets import READY_MADE


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def printed(capsys, *words):
    assert cli.main(["target", *words]) == 0
    return capsys.readouterr().out


def test_a_formula_s_theory_is_printed(capsys):
    out = " ".join(printed(capsys, "x1 + x1*x2 + x1*x2*x3", "--dims", "100").split())
    for said in (
        "about d^1 = 100",
        "x1, x2, x3",
        "attained by x1, x1 x2, x1 x2 x3",
        "eps^(-3/m)",
        "4 eps^(-2/m)",  # two products, two sums
        "matched module 9 vertices, ",  # three coordinates, four nodes, biases and the output
        "information exponent - not said: of functions of Gaussian inputs",
        "x1 0.3333 1",
    ):
        assert said in out


def test_the_composition_is_drawn_and_what_is_shared_is_drawn_once(capsys):
    out = printed(capsys, "x1 + x1*x2 + x1*x2*x3", "--dims", "100").splitlines()
    tree = [re.sub("[^A-Za-z0-9() ]", " ", line).rstrip() for line in out[out.index("y") :]]
    depths = [(len(line) - len(line.lstrip()), line.strip()) for line in tree]
    assert depths == [
        (0, "y"), (4, "s1"), (8, "x1"), (8, "x1x2"), (12, "x1"), (12, "x2"),
        (4, "x1x2x3"), (8, "x1x2 (as above)"), (8, "x3"),
    ]  # fmt: skip
    many = printed(capsys, "binary_tree", "--dims", "64")
    assert "constituents: --out draws them" in many


def test_json_has_every_field(capsys):
    found = json.loads(
        printed(capsys, "--dims", "60", "--law", "gaussian", "-x2^3 + 3*x2", "--json")
    )
    assert found["information_exponent"] == found["leap"] == 3 and found["step_exponent"] == 2
    assert found["dims"] == 60 and found["support"] == [2] and found["sobol_total"] == {"x2": 1.0}
    assert found["dag"] == {"root": "y", "nodes": {"h3x2": ["x2"], "y": ["h3x2"]}}
    assert "x2->h_h3x2" in found["matched_module"]["edges"]
    assert found["sample_complexity"] is None and found["why_not"]["sample_complexity"]


def test_ready_made_targets_take_their_arguments(capsys):
    found = json.loads(printed(capsys, "parity", "--dims", "20", "--order", "4", "--json"))
    assert (found["dims"], found["leap"], found["coefficients"]) == (20, 4, [[[1, 2, 3, 4], 1.0]])
    assert "eps^(-4/m)" in printed(capsys, "tree")
    teacher = json.loads(printed(capsys, "teacher", "--size", "3", "--hidden", "1", "--json"))
    assert teacher["arity"] == 3 and len(teacher["dag"]["nodes"]) == 4
    constant = json.loads(printed(capsys, "x1*0 + 2", "--json"))
    assert constant["step_exponent"] is None and "constant" in constant["why_not"]["step_exponent"]
    assert "x1 + x4" not in printed(capsys, "leap-staircase", "--leap", "2")


@pytest.mark.parametrize(("name", "head"), [("a.pdf", b"%PDF"), ("x1.png", b"\x89PNG")])
def test_a_drawing_of_the_composition(capsys, tmp_path, name, head):
    assert printed(capsys, "--out", name, "x1 + x2*x3").splitlines()[-1] == name
    assert (tmp_path / name).read_bytes().startswith(head)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "target needs a target. Targets: staircase"),
        (["stircase"], "there is no target named 'stircase': did you mean staircase"),
        (["xyzzy"], "Or a formula in place of a name"),
        (["x1 + y"], "'y' at letter 6: coordinates are named x1"),
        (["2x1"], "products are written with *"),
        (["x9", "--dims", "3"], "there are 3 coordinates; raise dims"),
        (["x1", "--dims", "0"], "dims must be positive"),
        (["x1", "--law", "uniform"], "uniform"),
        (["parity", "--order", "0"], "order: 1 to 50"),
        (["parity", "--law", "gaussian"], "--law"),
        (["x1", "--out", "a.gif"], "a.gif should end in one of .png, .pdf, .svg"),
        (["x1", "--out", "no/a.png"], "there is no folder no"),
        (["x1", "--out", "folder.png"], "folder.png cannot be written"),
        (["parity", "--order", "50", "--dims", "150", "--out", "a.png", "--seed", "1"], "--seed"),
        (["parity", "--order", "140", "--dims", "150", "--out", "a.png"], "shows up to 200"),
    ],
)
def test_bad_input_is_one_message_and_code_2(capsys, tmp_path, words, message):
    (tmp_path / "folder.png").mkdir()
    assert cli.main(["target", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_help_names_targets_and_their_options(capsys):
    assert cli.main(["target", "--help"]) == 0
    out = capsys.readouterr().out
    assert set(READY_MADE) <= set(out.replace(",", " ").split()) and "a formula" in out
    assert cli.main(["target", "sparse_polynomial", "--help"]) == 0
    out = capsys.readouterr().out
    for option in ("dims", "support", "terms", "degree", "seed", "out", "json"):
        assert f"--{option}" in out
    assert cli.main(["target", "x1", "--help"]) == 0
    assert "--law" in capsys.readouterr().out
