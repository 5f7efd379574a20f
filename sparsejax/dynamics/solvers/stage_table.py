"""Coefficients of a family of stabilised Runge-Kutta methods, one member for each stage count."""

from typing import NamedTuple

import numpy as np


class StageTable(NamedTuple):
    """Coefficients of a family of stabilised methods, least stage count first.

    A member with `m` recurrence stages computes, with `Y_0 = y_n`, `F_j = f(t_n + c_j h, Y_j)`,
    `D_j = Y_j - y_n` and `E_j = Y_j - Y_{j-1}`,

        E_j = r_j D_{j-1} + q_j E_{j-1} + m_j h F_{j-1} + g_j h F_0,    D_j = D_{j-1} + E_j,

    for j = 1..m, followed by the stages of a finishing explicit tableau that starts from `Y_m`
    (none for RKC2). Differences are used, instead of the usual recurrence in `Y_j`, because the
    coefficients of that one are close to 2 and -1 and lose `s^2` units of roundoff to their sum.
    RKC4 has stages of its own, and other columns in `rows`.

    - `stages` (d,): evaluations of the vector field in one step.
    - `intervals` (d,): the polynomial is stable on `[-interval, 0]`.
    - `starts` (d,): where the member's rows begin in `rows`; `lengths` (d,): how many (`m`).
    - `rows` (sum of m, 5): `(r_j, q_j, m_j, g_j, c_{j-1})`.
    - `finish_a` (d, p, p), `finish_b` (d, p), `finish_c` (d, p + 1): the finishing tableau, its
      abscissae counted from `t_n` in units of h.
    - `finish_error` (d, p + 1): weights of `h f` at the finishing stages and at `y_{n+1}` in the
      error estimate.
    """

    stages: np.ndarray
    intervals: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    rows: np.ndarray
    finish_a: np.ndarray
    finish_b: np.ndarray
    finish_c: np.ndarray
    finish_error: np.ndarray

    @classmethod
    def of_members(
        cls,
        stages: list[int],
        intervals: list[float],
        rows: list[np.ndarray],
        finish: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] | None = None,
    ) -> "StageTable":
        """From each member's stage count, interval, rows and finishing `(a, b, c, error)`."""
        lengths = np.array([len(r) for r in rows])
        if finish is None:
            none = (np.zeros((0, 0)), np.zeros(0), np.ones(1), np.zeros(1))
            finish = [none] * len(stages)
        finish_a, finish_b, finish_c, finish_error = (
            np.stack(field) for field in zip(*finish, strict=True)
        )
        return StageTable(
            np.array(stages),
            np.array(intervals),
            np.concatenate([[0], np.cumsum(lengths)[:-1]]),
            lengths,
            np.concatenate(rows),
            finish_a,
            finish_b,
            finish_c,
            finish_error,
        )

    def up_to(self, max_stages: int) -> "StageTable":
        """The members of at most `max_stages` stages (`ValueError` if there is none)."""
        count = int(np.searchsorted(self.stages, max_stages, side="right"))
        if count == 0:
            raise ValueError(
                f"max_stages={max_stages} is below the least stage count of this method, "
                f"{int(self.stages[0])}."
            )
        end = int(self.starts[count - 1] + self.lengths[count - 1])
        kept = {name: field[:count] for name, field in self._asdict().items()}
        return self._replace(**kept | {"rows": self.rows[:end]})
