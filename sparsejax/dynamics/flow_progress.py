"""How far a long run is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import time
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


class FlowProgress:
    """A bar with flow time (or steps), loss, evaluations, sharpness and time left, as a context.

    `total`: where the run ends, in the `unit` that the bar names. Where the console (standard error
    by default) is no terminal, it says nothing.

    >>> import io
    >>> with FlowProgress(2.0, Console(file=io.StringIO())) as progress:
    ...     progress.show(1.0, loss=0.5, evaluations=10, sharpness=None)
    >>> progress.text
    't 1 of 2, loss 0.5, 10 gradients, 0:00:00 left'
    """

    def __init__(self, total: float, console: Console | None = None, unit: str = "t") -> None:
        console = console or Console(stderr=True)
        self.total, self.unit, self.text = total, unit, ""
        # Not the console's own opinion: told to force colours, it takes any log for a terminal.
        self._progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.file.isatty(),
            transient=True,
        )
        self._task = self._progress.add_task("", total=total)
        self._seen = [(time.monotonic(), 0.0)]

    def show(self, t: float, loss: float, evaluations: int | None, sharpness: float | None) -> None:
        """The run has come to `t`."""
        self._seen = [*self._seen[-20:], (time.monotonic(), t)]
        (then, before), (now, _) = self._seen[0], self._seen[-1]
        # Steps grow and shrink: what is left goes by the speed of late.
        left = (now - then) * (self.total - t) / (t - before) if t > before else None
        parts = [f"{self.unit} {t:.6g} of {self.total:.6g}", f"loss {loss:.4g}"]
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
