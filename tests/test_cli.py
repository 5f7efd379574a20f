import dataclasses
import json
import subprocess
import sys

import jax
import mean_claim
import pytest
from mean_claim import BatchedMeanClaim, MeanClaim

from sparsejax import cli
from sparsejax.claims.registry import CLAIMS, Entry, Registry

ENTRIES = [CLAIMS.entry(name) for name in CLAIMS]
NAME = MeanClaim.name


@pytest.fixture
def claim(monkeypatch, tmp_path):
    """The command knows the mean claim alone, and stands in an empty folder."""
    claim = MeanClaim()
    registry = Registry([])
    registry.register(claim)
    monkeypatch.setattr(cli, "CLAIMS", registry)
    monkeypatch.chdir(tmp_path)
    return claim


def test_verify_prints_table_and_verdict_and_keeps_progress_off_standard_output(claim, capsys):
    assert cli.main(["verify", NAME]) == 0
    out, err = capsys.readouterr()
    assert "size1000-seed1" in out
    assert "mean-near-half holds.\nThe farthest mean decides.\nmargin 0.3495;" in out
    assert "results/mean-near-half" in out
    assert "trial 4 of 4" in err
    assert "trial 4 of 4" not in out
    # Run again, it measures nothing.
    assert cli.main(["verify", NAME]) == 0
    assert len(claim.measured) == 4


def test_json_is_the_verdict_alone(claim, capsys, tmp_path):
    # The option may stand before the claim.
    assert cli.main(["verify", "--json", "--out", "here", NAME, "--tolerance", "inf"]) == 0
    out, err = capsys.readouterr()
    record = json.loads(out, parse_constant=pytest.fail)
    assert record == json.loads((tmp_path / "here" / "verdict.json").read_text())
    assert record["margin"] == "inf"
    assert "trial 4 of 4" in err


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ([], 0, "mean-near-half holds."),
        (["--tolerance", "0.01"], 1, "mean-near-half is violated."),
        (["--tolerance", "0.05"], 3, "is inconclusive"),
        (["--law", "cauchy"], 3, "is not applicable"),
        (["--tolerance", "inf"], 0, "holds (vacuously"),
        (["--control"], 1, "must not hold, and it does not"),
        (["--control", "--shift", "-1"], 0, "cannot tell this claim from its failure"),
    ],
)
def test_the_exit_code_is_the_verdict(claim, capsys, options, code, sentence):
    assert cli.main(["verify", NAME, *options]) == code
    assert sentence in capsys.readouterr().out


def test_every_config_field_is_an_option_with_help(claim, capsys):
    assert cli.main(["verify", NAME, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for field in dataclasses.fields(MeanClaim.Config):
        assert f"--{field.name.replace('_', '-')}" in text
    assert "How near is near. (default: 0.4)" in text
    assert "--no-centred" in text
    words = ["--sizes", "3", "4", "5", "--seeds", "1", "--no-centred", "--level", "2"]
    assert cli.main(["verify", NAME, "--json", *words]) == 0
    config = json.loads(capsys.readouterr().out)["config"]
    assert config == {
        "sizes": [3, 4, 5],
        "seeds": 1,
        "tolerance": 0.4,
        "shift": 0.0,
        "budget": 0.01,
        "level": 2.0,
        "law": "uniform",
        "centred": False,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "COMMAND"),
        (["frobnicate"], "frobnicate"),
        (["--frobnicate"], "COMMAND"),
        (["verify"], "verify needs a claim. Claims: mean-near-half"),
        (
            ["verify", "mean-near-hal"],
            "no claim named 'mean-near-hal': did you mean mean-near-half",
        ),
        (["verify", "xyzzy"], "no claim named 'xyzzy': Claims: mean-near-half"),
        (["verify", NAME, "--tolerence", "1"], "--tolerance"),
        (["verify", NAME, "surplus"], "surplus"),
        (["verify", NAME, "--sizes", "many"], "many"),
        (["verify", NAME, "--law", "normal"], "normal"),
        (["verify", NAME, "--sizes", "-3"], "sizes: (-3,) should be one or more positive"),
        (["verify", NAME, "--sizes"], "sizes: () should be one or more positive"),
        (["verify", NAME, "--out", "file"], "file cannot be written"),
        (["verify", NAME, "--out", "full"], "full is not empty and holds no run"),
        (["verify", NAME, "--devices", "2"], "mean-near-half measures one trial at a time"),
        (["verify", NAME, "--processes", "2"], "--processes needs --coordinator and --process too"),
        (
            ["verify", "--coordinator", "a:1", "--process", "0", NAME],
            "--coordinator and --process need --processes too",
        ),
        (
            ["verify", NAME, "--coordinator", "a", "--processes", "2", "--process", "0"],
            "coordinator: HOST:PORT is wanted, got a",
        ),
        (
            ["verify", NAME, "--coordinator", "a:1", "--processes", "2", "--process", "2"],
            "process: one of 0 to 1 is wanted, got 2",
        ),
        (
            ["verify", NAME, "--coordinator", "a:1", "--processes", "2", "--process", "1"]
            + ["--devices", "2"],
            "each of several processes has one CPU device",
        ),
        (["report"], "folder"),
        (["report", "nowhere"], "nowhere holds no run"),
    ],
)
def test_bad_input_is_one_message_and_code_2_before_any_compute(
    claim, capsys, tmp_path, words, message
):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert claim.measured == []
    assert not (tmp_path / "results").exists()


@pytest.fixture
def batched(claim):
    """The command knows the claim with batches and presets too."""
    batched = BatchedMeanClaim()
    cli.CLAIMS.register(batched)
    return batched


def test_a_preset_is_where_options_start_from(batched, capsys, tmp_path):
    words = ["verify", "--preset", "quick", batched.name, "--json"]
    assert cli.main([*words, "--seeds", "2", "--out", "a"]) == 0
    config = json.loads(capsys.readouterr().out)["config"]
    assert (config["sizes"], config["seeds"], config["tolerance"]) == ([10], 2, 0.4)
    header = json.loads((tmp_path / "a" / "config.json").read_text())
    assert header["requested"] == config
    assert cli.main(["verify", batched.name, "--preset=strict"]) == 1
    capsys.readouterr()
    assert cli.main(["verify", batched.name, "--preset", "quick", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Presets: quick, strict." in text
    # The defaults shown are those that would be taken.
    assert "Means a size. (default: 3)" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "quik"], "no preset named 'quik': did you mean quick? Presets: quick"),
        (["--preset"], "preset"),
    ],
)
def test_an_unknown_preset_is_a_usage_error(batched, capsys, words, message):
    assert cli.main(["verify", batched.name, *words]) == 2
    assert message in capsys.readouterr().err
    assert batched.measured == []
    assert cli.main(["verify", NAME, "--preset", "quick"]) == 2
    assert "mean-near-half has none" in capsys.readouterr().err


def test_another_config_in_the_folder_is_an_input_error(claim, capsys):
    assert cli.main(["verify", NAME, "--out", "here"]) == 0
    assert cli.main(["verify", NAME, "--out", "here", "--seeds", "3"]) == 2
    assert "here holds another config (seeds: 2 there, 3 here)" in capsys.readouterr().err
    assert len(claim.measured) == 4


def test_a_config_that_refuses_itself_is_an_input_error(claim, capsys):
    @dataclasses.dataclass(frozen=True)
    class Config(MeanClaim.Config):
        def __post_init__(self):
            if self.seeds < 1:
                raise ValueError("seeds should be 1 or more")

    claim.Config = Config
    assert cli.main(["verify", NAME, "--seeds", "0"]) == 2
    assert "seeds should be 1 or more" in " ".join(capsys.readouterr().err.split())


def test_report_makes_figure_and_report_again(claim, capsys, tmp_path):
    cli.main(["verify", NAME, "--out", "a"])
    cli.main(["verify", NAME, "--out", "b", "--tolerance", "0.01"])
    page = (tmp_path / "a" / "report.html").read_text()
    for name in ("report.html", "figure.png"):
        (tmp_path / "a" / name).unlink()
    (tmp_path / "c").mkdir()
    claim.measured.clear()
    capsys.readouterr()
    # One bad folder does not keep the others from their reports.
    assert cli.main(["report", "a", "c", "b"]) == 2
    out, err = capsys.readouterr()
    assert "mean-near-half holds." in out
    assert "mean-near-half is violated." in out
    assert "c holds no run" in err
    assert claim.measured == []
    assert (tmp_path / "a" / "report.html").read_text() == page
    assert (tmp_path / "a" / "figure.png").exists()
    assert cli.main(["report", "a", "b"]) == 0


def test_one_process_is_a_task_that_srun_started_kept_to_itself(claim, monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setattr("jax.distributed.initialize", pytest.fail)
    assert cli.main(["verify", NAME, "--processes", "1"]) == 0


def test_devices_that_cannot_be_made_are_an_input_error(batched, capsys):
    # This process's backend has started.
    jax.devices()
    assert cli.main(["verify", batched.name, "--devices", "3"]) == 2
    assert "JAX has started in this process" in capsys.readouterr().err
    assert cli.main(["verify", batched.name, "--devices", "0"]) == 2
    assert "at least one is needed, got 0" in capsys.readouterr().err
    assert batched.measured == []


def test_an_interrupted_run_says_how_to_continue(claim, capsys, monkeypatch):
    def interrupted(config, trial):
        raise KeyboardInterrupt

    monkeypatch.setattr(claim, "measure", interrupted)
    assert cli.main(["verify", NAME]) == 130
    assert "the same command continues" in capsys.readouterr().err


def test_a_bug_is_not_read_as_a_violation(claim, capsys, monkeypatch):
    monkeypatch.setattr(claim, "judge", lambda config, measurements: 1 / 0)
    assert cli.main(["verify", NAME]) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_list_names_each_claim_with_statement_and_source(capsys):
    assert cli.main(["list"]) == 0
    words = capsys.readouterr().out.split()
    for entry in ENTRIES:
        for text in (entry.name, entry.statement, entry.source):
            assert set(text.split()) <= set(words)


def test_help_and_version_exit_with_0(capsys):
    assert cli.main(["--help"]) == 0
    assert "2  usage or input error" in capsys.readouterr().out
    assert cli.main(["verify", "--help"]) == 0
    assert "tangent-approximation" in capsys.readouterr().out
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sparsejax")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_what_list_says_is_what_the_claim_says(entry: Entry):
    claim = CLAIMS[entry.name]
    assert (claim.name, claim.statement, claim.source) == (
        entry.name,
        entry.statement,
        entry.source,
    )
    claim.validate(claim.Config())
    claim.validate(claim.control(claim.Config()))
    fields = {field.name for field in dataclasses.fields(claim.Config)}
    own = {field.name for field in dataclasses.fields(cli.RunOptions)}
    assert not fields & own, "these are the command's own options"
    presets = getattr(claim, "presets", {}).values()
    assert all(type(preset) is claim.Config for preset in presets)
    assert claim.Config.__dataclass_params__.frozen


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_presets_are_valid(entry: Entry):
    claim = CLAIMS[entry.name]
    for preset in getattr(claim, "presets", {}).values():
        claim.validate(preset)


def test_what_lacks_the_protocol_or_takes_a_name_is_not_registered():
    registry = Registry([])
    with pytest.raises(TypeError, match="is no claim: it lacks name, statement, source"):
        registry.register(object())
    registry.register(MeanClaim())
    with pytest.raises(ValueError, match="already"):
        registry.register(MeanClaim())
    assert list(registry) == [NAME]


def test_the_command_turns_on_float64_and_importing_does_not(tmp_path):
    script = (
        "import jax, sparsejax.cli\n"
        "assert not jax.config.jax_enable_x64\n"
        "import runpy, sys\n"
        f"sys.argv = ['sparsejax', 'verify', {NAME!r}, '--json']\n"
        f"runpy.run_path({mean_claim.__file__!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["environment"]["dtype"] == "float64"
    assert jax.config.jax_enable_x64
