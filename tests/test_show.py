"""`sparsejax show`: pictures from the command line."""

import dataclasses

import pytest

from sparsejax import cli
from sparsejax.constructor_words import constructor_options, description
from sparsejax.graphs import READY_MADE
from sparsejax.show import Picture


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_a_lift_is_drawn_as_asked(capsys, tmp_path, monkeypatch):
    asked = []

    class Figure:
        def savefig(self, path, **options):
            path.write_bytes(b"a picture")

    def draw(lift, params=None):
        asked.append((lift, params))
        return Figure()

    from sparsejax.lifts import Lift

    monkeypatch.setattr(Lift, "draw", draw)
    monkeypatch.setattr(Lift, "init", lambda lift, key: {"weights": lift})
    words = "mlp --sizes 5 --in-degree 2 --inputs 4 --law regular --seed 7".split()
    assert cli.main(["show", *words, "--no-bias", "--out", "picture.pdf"]) == 0
    assert capsys.readouterr().out == "picture.pdf\n"
    ((lift, params),) = asked
    assert lift.sizes == {"x": 1, "h1": 5, "h2": 5, "y": 1}
    assert lift.in_degrees == {"x->h1": 1, "h1->h2": 2, "h2->y": 5}
    assert params is None
    assert cli.main(["show", *words, "--no-bias", "--weights", "--in-degree", "9"]) == 0
    assert (tmp_path / "mlp.png").read_bytes() == b"a picture"
    lift, params = asked[1]
    assert lift.in_degrees["h1->h2"] == 5  # all there are
    assert params == {"weights": lift}


@pytest.mark.parametrize(
    ("words", "name", "head"),
    [(["--out", "graph.pdf"], "graph.pdf", b"%PDF"), ([], "mlp.png", b"\x89PNG")],
)
def test_the_base_graph_alone_in_the_format_of_the_suffix(capsys, tmp_path, words, name, head):
    assert cli.main(["show", "mlp", *words]) == 0
    assert capsys.readouterr().out == f"{name}\n"
    assert (tmp_path / name).read_bytes().startswith(head)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "show needs a module. Modules: mlp"),
        (["mpl"], "there is no module named 'mpl': did you mean mlp? Modules: mlp"),
        (["xyzzy"], "there is no module named 'xyzzy': Modules: mlp"),
        (["mlp", "--out", "picture.gif"], "picture.gif should end in one of .png, .pdf, .svg"),
        (["mlp", "--out", "no/where.png"], "there is no folder no"),
        (["mlp", "--out", "folder.png"], "folder.png cannot be written"),
        (["mlp", "--sizes", "0"], "sizes: must be positive, got 0"),
        (["mlp", "--sizes", "3", "--in-degree", "0"], "in_degree: must be positive, got 0"),
        (["mlp", "--inputs", "0"], "mlp needs inputs >= 1"),
        (["mlp", "--activation", "thanh"], "unknown activation 'thanh'"),
        (["mlp", "--law", "cauchy"], "cauchy"),
        (["mlp", "--size", "3"], "--sizes"),
    ],
)
def test_bad_input_is_one_message_and_code_2(capsys, tmp_path, words, message):
    (tmp_path / "folder.png").mkdir()
    assert cli.main(["show", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_help_names_modules_and_their_options(capsys):
    assert cli.main(["show", "--help"]) == 0
    assert set(READY_MADE) <= set(capsys.readouterr().out.replace(",", " ").split())
    assert cli.main(["show", "mlp", "--help"]) == 0
    out = capsys.readouterr().out
    for option in ("sizes", "in-degree", "law", "seed", "weights", "out", "inputs", "input-as"):
        assert f"--{option}" in out
    assert "its lifts are multilayer perceptrons" in out


@pytest.mark.parametrize("name", READY_MADE)
def test_every_module_has_an_example_and_options_of_its_own(name):
    options = constructor_options(READY_MADE[name])
    assert options
    assert not {option for option, _, _ in options} & {f.name for f in dataclasses.fields(Picture)}
    assert READY_MADE[name](**{option: default for option, _, default in options}).duplicated
    assert "Raises:" not in description(READY_MADE[name])
