import io

import pytest
from rich.console import Console

from sparsejax.runs import Bar, Lines, terminal_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(progress):
    with progress:
        progress.start("my-claim", total=3, done=1)
        for name in ("seed1", "seed2"):
            progress.begin(name)
            progress.note(f"about [{name}]")
            progress.finish(name, seconds=1.5)


def test_a_log_gets_one_line_a_trial():
    stream = io.StringIO()
    run(Lines(Console(file=stream)))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "my-claim: 3 trials, 1 of them stored already"
    assert lines[1] == "about [seed1]"
    assert lines[2].startswith("my-claim: trial 2 of 3, seed1: 1.5 s (elapsed 0 s, remaining")
    assert lines[4].startswith("my-claim: trial 3 of 3, seed2: 1.5 s (elapsed 0 s, remaining 0 s")
    assert len(lines) == 5


def test_a_terminal_gets_a_bar_that_ends_full(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    run(Bar(Console(file=stream)))
    text = stream.getvalue()
    assert "about [seed1]" in text
    last = [line for line in text.splitlines() if "my-claim" in line][-1]
    assert "3/3" in last
    assert "elapsed" in last
    assert "remaining 0:00:00" in last


def test_the_remaining_time_is_of_the_trials_measured_here(monkeypatch):
    stream = io.StringIO()
    clock = iter([0.0, 10.0])
    monkeypatch.setattr("sparsejax.runs.progress.time.monotonic", lambda: next(clock))
    lines = Lines(Console(file=stream))
    lines.start("my-claim", total=8, done=5)
    lines.finish("seed5", seconds=10.0)
    # One of the three that were missing took 10 s: two are left, whatever was stored before.
    assert "(elapsed 10 s, remaining 20 s)" in stream.getvalue()


def test_so_is_the_bar_s():
    stream = io.StringIO()
    now = [0.0]
    bar = Bar(Console(file=stream, width=120))
    bar._progress.get_time = lambda: now[0]
    bar.start("my-claim", total=8, done=5)
    bar.begin("seed5")
    now[0] = 100.0
    bar.finish("seed5", seconds=100.0)
    bar._progress.console.print(bar._progress)
    assert "6/8 elapsed 0:01:40 remaining 0:03:20" in stream.getvalue()


@pytest.mark.parametrize(("stream", "kind"), [(Terminal(), Bar), (io.StringIO(), Lines)])
def test_the_stream_decides(stream, kind):
    assert isinstance(terminal_progress(Console(file=stream)), kind)
