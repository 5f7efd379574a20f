"""How far a long flow is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import time
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


class FlowProgress:
    """A bar with flow time, loss, evaluations, sharpness and the time left, as a context.

    Where the console (standard error by default) is no terminal, it says nothing.

    >>> import io
    >>> with FlowProgress(2.0, Console(file=io.StringIO())) as progress:
    ...     progress.show(1.0, loss=0.5, evaluations=10, sharpness=None)
    >>> progress.text
    't 1 of 2, loss 0.5, 10 gradients, 0:00:00 left'
    """

    def __init__(self, t1: float, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self.t1, self.text = t1, ""
        # Not the console's own opinion: told to force colours, it takes any log for a terminal.
        self._progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.file.isatty(),
            transient=True,
        )
        self._task = self._progress.add_task("", total=t1)
        self._seen = [(time.monotonic(), 0.0)]

    def show(self, t: float, loss: float, evaluations: int | None, sharpness: float | None) -> None:
        """The flow has come to time `t`."""
        self._seen = [*self._seen[-20:], (time.monotonic(), t)]
        (then, before), (now, _) = self._seen[0], self._seen[-1]
        # Steps grow and shrink: what is left goes by the speed of late.
        left = (now - then) * (self.t1 - t) / (t - before) if t > before else None
        parts = [f"t {t:.4g} of {self.t1:.4g}", f"loss {loss:.4g}"]
        if evaluations is not None:
            parts.append(f"{evaluations} gradients")
        if sharpness is not None:
            parts.append(f"sharpness {sharpness:.4g}")
        if left is not None:
            parts.append(f"{timedelta(seconds=round(left))} left")
        self.text = ", ".join(parts)
        self._progress.update(self._task, completed=t, description=self.text)

    def __enter__(self) -> FlowProgress:
        """Take the terminal."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Give it back."""
        self._progress.stop()
