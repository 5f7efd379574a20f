"""How far a run is, on standard error: a bar on a terminal, a line a trial elsewhere."""

from __future__ import annotations

import time
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text


class RunProgress:
    """What a run tells while it runs, as a context. This one tells nothing.

    >>> with RunProgress() as progress:
    ...     progress.start("my-claim", total=8, done=0)
    """

    def start(self, title: str, total: int, done: int) -> None:
        """There are `total` trials, `done` of them stored already."""

    def extend(self, total: int, done: int) -> None:
        """There are `total` trials more, `done` of them stored already."""

    def begin(self, name: str) -> None:
        """This trial, or a batch with this name, begins."""

    def finish(self, name: str, seconds: float) -> None:
        """This trial is stored."""

    def note(self, text: str) -> None:
        """Something that the reader should know, and that is no error."""

    def __enter__(self) -> RunProgress:
        """Take the terminal."""
        return self

    def __exit__(self, *error: object) -> None:
        """Give it back."""


class Lines(RunProgress):
    """One plain line for each trial that ends, for logs; `prefix` says which of several writes it.

    >>> with Lines(Console()) as lines:
    ...     lines.start("my-claim", total=2, done=1)
    ...     lines.finish("seed1", seconds=0.25)
    my-claim: 2 trials, 1 of them stored already
    my-claim: trial 2 of 2, seed1: 0.2 s (elapsed 0 s, remaining 0 s)
    """

    def __init__(self, console: Console, prefix: str = "") -> None:
        self._console = console
        self._prefix = prefix

    def start(self, title: str, total: int, done: int) -> None:
        """There are `total` trials, `done` of them stored already."""
        self._title, self._total, self._stored, self._done = title, total, done, done
        self._since = time.monotonic()
        already = f", {done} of them stored already" if done else ""
        self.note(f"{title}: {total} trials{already}")

    def extend(self, total: int, done: int) -> None:
        """There are `total` trials more, `done` of them stored already."""
        self._total += total
        self._stored += done
        self._done += done
        self.note(f"{self._title}: {total} trials more, {done} of them stored already")

    def finish(self, name: str, seconds: float) -> None:
        """This trial is stored."""
        self._done += 1
        elapsed = time.monotonic() - self._since
        left = elapsed / (self._done - self._stored) * (self._total - self._done)
        self.note(
            f"{self._title}: trial {self._done} of {self._total}, {name}: {seconds:.1f} s "
            f"(elapsed {elapsed:.0f} s, remaining {left:.0f} s)"
        )

    def note(self, text: str) -> None:
        """A line."""
        self._console.print(f"{self._prefix}{text}", markup=False, highlight=False, soft_wrap=True)


class _TimeRemaining(ProgressColumn):
    # rich's own column forgets after 30 seconds and needs two trials; a trial may take minutes.
    def render(self, task: Task) -> Text:
        measured = task.completed - task.fields["stored"]
        if not measured or task.elapsed is None or task.total is None:
            return Text("-:--:--")
        seconds = task.elapsed / measured * (task.total - task.completed)
        return Text(str(timedelta(seconds=round(seconds))))


class Bar(RunProgress):
    """A bar with the trial's name, its number, elapsed and remaining time."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            TextColumn("remaining"),
            _TimeRemaining(),
            console=console,
        )

    def start(self, title: str, total: int, done: int) -> None:
        """There are `total` trials, `done` of them stored already."""
        self._title = title
        self._task = self._progress.add_task(title, total=total, completed=done, stored=done)

    def extend(self, total: int, done: int) -> None:
        """There are `total` trials more, `done` of them stored already."""
        task = self._progress.tasks[self._task]
        self._progress.update(
            self._task,
            total=(task.total or 0) + total,
            completed=task.completed + done,
            stored=task.fields["stored"] + done,
        )

    def begin(self, name: str) -> None:
        """This trial, or a batch with this name, begins."""
        self._progress.update(self._task, description=f"{self._title} {name}")

    def finish(self, name: str, seconds: float) -> None:
        """This trial is stored."""
        self._progress.update(self._task, advance=1, description=self._title)

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(text, markup=False, highlight=False)

    def __enter__(self) -> RunProgress:
        """Take the terminal."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Give it back."""
        self._progress.stop()


def terminal_progress(console: Console | None = None) -> RunProgress:
    """A `Bar` when the console (standard error by default) is a terminal, else `Lines`.

    >>> import io
    >>> type(terminal_progress(Console(file=io.StringIO()))).__name__
    'Lines'
    """
    console = console or Console(stderr=True)
    # Not the console's own opinion: told to force colours, it takes any log for a terminal.
    return Bar(console) if console.file.isatty() else Lines(console)
