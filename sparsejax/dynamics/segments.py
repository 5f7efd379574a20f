"""One integration in pieces: whatever the pieces are, the steps are those of a single solve.

diffrax hands back the states of solver and controller, but not the step that the controller has
proposed. A controller around the controller remembers it, ends a piece after a number of steps that
is no part of the compiled program, and counts.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from sparsejax.dynamics.crossing import Crossing
from sparsejax.dynamics.solvers import counting, work_counts
from sparsejax.dynamics.stop import first_met, margins
from sparsejax.dynamics.trajectory import (
    COMPLETED,
    REACHED,
    STEP_BUDGET,
    STEP_UNDERFLOW,
    UNDER_WAY,
)


class Ledger(eqx.Module):
    """State of a `PiecewiseController`: the inner one's, the end of the next step, and counts."""

    inner: PyTree
    tnext: Float[Array, ""]
    steps: Int[Array, ""]
    rejected: Int[Array, ""]


class PiecewiseController(diffrax.AbstractStepSizeController[Ledger, Any]):
    """A step size controller that ends the solve after `budget` steps and can go on from there."""

    controller: diffrax.AbstractStepSizeController
    end: Float[Array, ""]
    budget: Int[Array, ""]
    ledger: Ledger | None = None

    def wrap(self, direction: Any) -> "PiecewiseController":
        """The same around the wrapped inner controller."""
        inner = self.controller.wrap(direction)
        return PiecewiseController(inner, self.end, self.budget, self.ledger)

    def init(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: PyTree,
        dt0: Any,
        args: Any,
        func: Any,
        error_order: Any,
    ) -> tuple[Any, Ledger]:
        """The first step, or where the piece before was about to go."""
        if self.ledger is not None:
            return self.ledger.tnext, self.ledger
        tnext, inner = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        none = jnp.zeros((), jnp.int32)
        inner = jax.tree.map(jnp.asarray, inner)
        return tnext, Ledger(inner, jnp.minimum(tnext, self.end), none, none)

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: PyTree,
        y1_candidate: PyTree,
        args: Any,
        y_error: Any,
        error_order: Any,
        controller_state: Ledger,
    ) -> tuple[Any, Any, Any, Any, Ledger, Any]:
        """As the inner controller; out of steps where the budget is spent."""
        keep, tprev, tnext, jump, inner, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state.inner
        )
        # What diffrax does with a step beyond the end, done here so that it is remembered.
        beyond = tnext > self.end * (1 - 128 * jnp.finfo(self.end.dtype).eps)
        tnext = jnp.where(
            beyond, jnp.where(keep, self.end, tprev + 0.5 * (self.end - tprev)), tnext
        )
        ledger = Ledger(
            jax.tree.map(jnp.asarray, inner),
            tnext,
            controller_state.steps + 1,
            controller_state.rejected + jnp.where(keep, 0, 1),
        )
        spent = (result == diffrax.RESULTS.successful) & (ledger.steps >= self.budget)
        result = diffrax.RESULTS.where(spent, diffrax.RESULTS.max_steps_reached, result)
        return keep, tprev, tnext, jump, ledger, result


class Position(eqx.Module):
    """How far an integration has come, with all that it takes to go on.

    `y` at time `t`; `states` (S, p) at the saved times of which `filled` says which are there;
    `code`: `UNDER_WAY` or how it ended; `first_loss` and `first_margins`: what stop conditions are
    relative to.
    """

    t: Float[Array, ""]
    y: Float[Array, " p"]
    solver_state: PyTree
    ledger: Ledger
    states: Float[Array, "s p"]
    filled: Bool[Array, " s"]
    code: Int[Array, ""]
    first_loss: Float[Array, ""]
    first_margins: Float[Array, " k"]

    @property
    def steps(self) -> Int[Array, ""]:
        """Steps tried so far, rejected ones included."""
        return self.ledger.steps


def largest_error(scaled: Float[Array, " y"]) -> Float[Array, ""]:
    """Of the parameters in the root mean square, of the dissipation by itself.

    Among thousands of parameters the dissipation would not count, and the energy identity, which
    rests on it, would say little of the parameters.
    """
    theta = scaled[:-2]
    mean_square = jnp.mean(jnp.square(theta)) if theta.size else jnp.zeros((), scaled.dtype)
    # The square root has no derivative at zero.
    root = jnp.where(mean_square > 0, jnp.sqrt(jnp.where(mean_square > 0, mean_square, 1)), 0)
    return jnp.maximum(root, jnp.abs(scaled[-1]))


class Integration(NamedTuple):
    """What is integrated and how.

    `field(t, y, args)`; `measured(y) -> (loss, squared gradient norm)`; `thresholds`: of the stop
    conditions; `adjoint` and `bound`: for derivatives, and the static bound on steps that reverse
    mode needs.
    """

    field: Callable[[Any, Array, Any], Array]
    measured: Callable[[Array], tuple[Array, Array]]
    solver: diffrax.AbstractSolver
    rtol: Float[Array, ""]
    atol: Float[Array, ""]
    first_step: Float[Array, ""] | None
    ts: Float[Array, " s"]
    thresholds: Mapping[str, Array]
    adjoint: diffrax.AbstractAdjoint
    bound: int | None

    def begin(self, y0: Float[Array, " p"]) -> Position:
        """At time zero, before the first step."""
        solution = self._solve(y0, None, jnp.zeros((), jnp.int32), bound=0)
        return self._position(y0, None, solution, jnp.asarray(True))

    def advance(
        self, y0: Float[Array, " p"], position: Position | None, budget: Int[Array, ""]
    ) -> Position:
        """On from a position, or from time zero at `y0`, until `budget` steps have been taken."""
        if self.thresholds and position is None:
            # A crossing needs two sides: what holds from the start takes no more than a step.
            loss, squared = self.measured(y0)
            met = jnp.min(margins(self.thresholds, loss, squared, loss)) <= 0
            budget = jnp.where(met, 1, budget)
        solution = self._solve(y0, position, budget, bound=self.bound)
        return self._position(y0, position, solution, jnp.asarray(False))

    def _solve(self, y0, position, budget, bound) -> diffrax.Solution:
        dtype, t1 = y0.dtype, self.ts[-1]
        # Where the least step is still too long the solve stops: forced on, it would step over
        # a singularity and return numbers that mean nothing.
        control = diffrax.PIDController(
            rtol=self.rtol,
            atol=self.atol,
            dtmin=max(1e-13, float(jnp.finfo(dtype).eps)) * t1,
            force_dtmin=False,
            norm=largest_error,
        )
        solver, counted = counting(self.solver, control)
        t0 = jnp.zeros((), dtype) if position is None else position.t
        ledger = None if position is None else position.ledger
        return diffrax.diffeqsolve(
            diffrax.ODETerm(self.field),
            solver,
            t0=t0,
            t1=t1,
            dt0=None if position is not None else self.first_step,
            y0=y0 if position is None else position.y,
            stepsize_controller=PiecewiseController(counted, t1, budget, ledger),
            saveat=diffrax.SaveAt(
                # diffrax wants all saved times ahead; those behind are saved twice, and dropped.
                subs=[diffrax.SubSaveAt(ts=jnp.maximum(self.ts, t0)), diffrax.SubSaveAt(t1=True)],
                solver_state=True,
                controller_state=True,
            ),
            solver_state=None if position is None else position.solver_state,
            event=self._event(y0),
            adjoint=self.adjoint,
            max_steps=bound,
            throw=False,
        )

    def _event(self, y0) -> diffrax.Event | None:
        if not self.thresholds:
            return None
        first_loss = self.measured(y0)[0]

        def least_margin(t, y, args, **_):
            del t, args
            return jnp.min(margins(self.thresholds, *self.measured(y), first_loss))

        # To the tolerance of the flow, but not below the roundoff of time.
        resolved = jnp.maximum(self.rtol, 8 * jnp.finfo(y0.dtype).eps)
        least = 1e-3 * resolved * self.ts[-1]
        finder = Crossing(rtol=resolved, atol=least)  # type: ignore[call-arg]
        return diffrax.Event(least_margin, finder, direction=False)

    def _position(self, y0, position, solution, fresh) -> Position:
        ledger, reached, last = (
            solution.controller_state,
            solution.ts[1][-1],
            solution.ys[1][-1],
        )
        there = jnp.isfinite(solution.ts[0])
        if position is None:
            there, states = there & ~fresh, solution.ys[0]
            loss, squared = self.measured(y0) if self.thresholds else (jnp.zeros((), y0.dtype),) * 2
            start = margins(self.thresholds, loss, squared, loss) if self.thresholds else None
            start = jnp.zeros(0, y0.dtype) if start is None else start
        else:
            loss, start = position.first_loss, position.first_margins
            new = there & ~position.filled
            states = jnp.where(new[:, None], solution.ys[0], position.states)
            there = there | position.filled
        results = diffrax.RESULTS
        code = jnp.where(solution.result == results.max_steps_reached, UNDER_WAY, STEP_UNDERFLOW)
        done = (solution.result == results.successful) | (reached >= self.ts[-1])
        code = jnp.where(done, COMPLETED, code)
        if self.thresholds:
            met = first_met(
                self.thresholds, margins(self.thresholds, *self.measured(last), loss), start
            )
            stopped = solution.result == results.event_occurred
            code = jnp.where(stopped, REACHED + met, code)
            # A crossing needs two sides: what holds from the start is looked at here.
            at_once = jnp.min(start) <= 0
            met_at_once = first_met(self.thresholds, start, start)
            code = jnp.where(at_once, REACHED + met_at_once, code)
            reached, last = jnp.where(at_once, 0, reached), jnp.where(at_once, y0, last)
            there = there & (~at_once | (self.ts <= 0))
        return Position(
            t=reached,
            y=last,
            solver_state=jax.tree.map(jnp.asarray, solution.solver_state),
            ledger=ledger,
            states=states,
            filled=there,
            code=code,
            first_loss=loss,
            first_margins=start,
        )

    def counts(self, position: Position) -> dict[str, Array]:
        """The work so far: steps, rejected steps, evaluations where they are known."""
        ledger = position.ledger
        counts = work_counts(
            self.solver, ledger.steps, ledger.rejected, position.solver_state, ledger.inner
        )
        if "gradient_evaluations" in counts:
            # Two to choose the first step; one a step, and those of the bisection, to look at
            # the stop conditions.
            extra = 0 if self.first_step is not None else 2
            counts["gradient_evaluations"] = counts["gradient_evaluations"] + extra
        if self.thresholds:
            counts["stop_evaluations"] = ledger.steps + 1
        return counts


def ended(code: Int[Array, ""]) -> Int[Array, ""]:
    """The code of an integration that will not go on: still under way is out of budget."""
    return jnp.where(code == UNDER_WAY, STEP_BUDGET, code)
