"""What the stabilised explicit Runge-Kutta methods have in common: one step, and its state."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from . import reverse
from .spectral_radius import (
    RadiusEstimate,
    mixed,
    norm,
    power_iteration,
    random_direction,
)
from .stage_table import StageTable

# The spectral radius: agreement asked of two successive iterates, products allowed at the start of
# an integration and within a step, repetitions of a step whose stage count proves too small.
TOLERANCE = 0.02
FIRST_ITERATIONS = 60
ITERATIONS = 12
REPETITIONS = 3


class StabilisedState(eqx.Module):
    """What an integration carries from an accepted step to the next.

    `f` and `radius`: the vector field and the spectral radius at the state reached; `direction`:
    the unit vector of the power iteration; `stages`: of the last step; `evaluations`, `jvps`: of
    the vector field and of its Jacobian-vector products so far, in accepted steps (diffrax restores
    the state after a rejected one; `counting` counts both).
    """

    f: PyTree
    radius: Float[Array, ""]
    direction: PyTree
    stages: Int[Array, ""]
    evaluations: Int[Array, ""]
    jvps: Int[Array, ""]


def as_long(length: Int[Array, ""], stage: Callable, carry: PyTree) -> PyTree:
    """The stages of a step, as long as there are any; the carry begins with their count."""
    return lax.while_loop(lambda carry: carry[0] < length, stage, carry)


def _all_of_it(state: PyTree) -> PyTree:
    return state


class Start(NamedTuple):
    """Where a step starts, and which way it goes: all that its result depends on smoothly."""

    terms: Any
    t0: Any
    t1: Any
    y0: PyTree
    args: PyTree
    f0: PyTree
    control: Array

    def scale(self, like: Array) -> Array:
        """The step size in the dtype of `like`."""
        return self.control.astype(like.dtype)


class Attempt(NamedTuple):
    """A step with one stage count, and whether it needs another: `again`, or is `sound`."""

    trips: Int[Array, ""]
    radius: Float[Array, ""]
    member: Int[Array, ""]
    increment: PyTree
    error: PyTree
    end: RadiusEstimate
    evaluations: Int[Array, ""]
    jvps: Int[Array, ""]
    again: Array
    sound: Array


class AbstractStabilisedRungeKutta(diffrax.AbstractAdaptiveSolver[StabilisedState]):
    """Explicit Runge-Kutta methods that buy stability on the negative real axis with stages.

    For `diffrax.diffeqsolve` with an `ODETerm` over any real pytree, any step size controller,
    `SaveAt` and events. A step of size h where the Jacobian has spectral radius rho takes the least
    tabulated stage count whose stability interval covers `safety * h * rho`. A step that would
    need more than `max_stages` is rejected without an evaluation; a step at whose end rho has
    outgrown the stage count is repeated at once with more stages.

    rho is estimated by power iteration with exact Jacobian-vector products at the end of each step,
    from the direction of the step before: one product as a rule, which shares its primal with the
    evaluation at the end of the step.

    Where integration cannot go on, the solution carries a result instead of looping:
    `diffrax.RESULTS.nonfinite` if the vector field is not finite at an accepted state,
    `dt_min_reached` if the step falls to roundoff of t, `nonlinear_divergence` if a controller that
    cannot reject (`ConstantStepSize`) asks for a step beyond `max_stages`.

    Forward-mode differentiation works (`jax.jvp` or `jax.jacfwd` of a solve with
    `adjoint=diffrax.ForwardMode()`); with `derivative="reverse"` reverse mode does instead
    (`jax.grad` of a solve with `adjoint=diffrax.RecursiveCheckpointAdjoint()`): the step is then
    replayed backwards with the stage count that it chose, at the cost of about four steps and the
    memory of `4 sqrt(max_stages)` states. Under `jax.vmap` the replay evaluates `max_stages` stages
    a step, whatever the count: give no more than are needed. The vector field needs a forward
    derivative (no `jax.custom_vjp` without one) unless `spectral_radius` is given.

    Args:
        max_stages: most stages in one step.
        safety: factor on the estimated spectral radius.
        spectral_radius: `(t, y, args) -> scalar`, an upper bound that replaces the estimate.
        coupled: zeroes the parts of the state that the vector field does not depend on, such as
            integrals along the way: the estimate leaves them out.
        report_work: hand the step's work to the controller, which must be a `CountingController`;
            set by `counting`.
        derivative: the mode of differentiation, `"forward"` or `"reverse"`.
    """

    max_stages: int = eqx.field(static=True, default=200)
    safety: float = eqx.field(static=True, default=1.1)
    spectral_radius: Callable[[Any, PyTree, Any], Any] | None = None
    coupled: Callable[[PyTree], PyTree] = eqx.field(static=True, default=_all_of_it)
    report_work: bool = eqx.field(static=True, default=False)
    derivative: str = eqx.field(static=True, default="forward")

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar = diffrax.ThirdOrderHermitePolynomialInterpolation
    order_of_method: ClassVar[int]
    order_of_estimate: ClassVar[int]

    def __check_init__(self) -> None:
        if self.safety < 1:
            raise ValueError(
                f"safety={self.safety} would under-cover the spectrum; give 1 or more."
            )
        if self.derivative not in ("forward", "reverse"):
            raise ValueError(f"derivative is 'forward' or 'reverse', not {self.derivative!r}")
        _ = self.table  # raises if max_stages is too small

    @property
    @abstractmethod
    def table(self) -> StageTable:
        """Coefficients of the members of at most `max_stages` stages."""

    def estimate(
        self,
        index: Int[Array, ""],
        increment: PyTree,
        f0: PyTree,
        f1: PyTree,
        finishing: PyTree,
        scale: Callable[[Array], Array],
    ) -> PyTree:
        """The local error estimate: the finishing stages' `h f` and `h f1`, weighted.

        `scale(x)` is h in the dtype of x.
        """
        weights = jnp.asarray(self.table.finish_error)[index]
        last = jax.tree.map(lambda f: weights[-1].astype(f.dtype) * scale(f) * f, f1)
        return _weighted(weights[:-1], finishing, last)

    def order(self, terms: PyTree) -> int:
        return self.order_of_method

    def error_order(self, terms: PyTree) -> int:
        # diffrax divides by this in the step size controller: the power of h in the estimate.
        return self.order_of_estimate

    def func(self, terms: Any, t0: Any, y0: PyTree, args: PyTree) -> PyTree:
        return terms.vf(t0, y0, args)

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree) -> StabilisedState:
        dtype = jnp.result_type(*jax.tree.leaves(y0))
        seen, f, evaluations = (terms, t0, y0, args), None, 1
        if self.derivative == "reverse":
            # The loop of the power iteration has no derivative backwards.
            seen = reverse.held((reverse.closed(*seen), t0, y0, args))
            f, evaluations = terms.vf(t0, y0, args), 2
        start = self._look(*seen, random_direction(y0), jnp.zeros((), dtype), FIRST_ITERATIONS)
        return StabilisedState(
            f=start.f if f is None else f,
            radius=start.radius,
            direction=start.direction,
            stages=jnp.zeros((), jnp.int32),
            evaluations=jnp.asarray(evaluations, jnp.int32),
            jvps=start.jvps,
        )

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: PyTree,
        args: PyTree,
        solver_state: StabilisedState,
        made_jump: Any,
    ) -> tuple[PyTree, PyTree, dict[str, PyTree], StabilisedState, Any]:
        state = solver_state
        table = self.table
        dtype = state.radius.dtype
        intervals = jnp.asarray(table.intervals, dtype)
        control = terms.contr(t0, t1)
        size = lax.stop_gradient(jnp.abs(control)).astype(dtype)

        f0, jumps = self._first_evaluation(terms, t0, y0, args, state, made_jump)

        start = Start(terms, t0, t1, y0, args, f0, control)
        usable = _finite(f0)
        # h at the roundoff of t: neither a smaller nor an equal step can make progress.
        least = 10 * jnp.finfo(jnp.result_type(t0, t1)).eps * jnp.maximum(jnp.abs(t0), jnp.abs(t1))
        stuck = jnp.abs(t1 - t0) <= least
        possible = usable & ~stuck & (self.safety * size * state.radius <= intervals[-1])
        zero = jax.tree.map(jnp.zeros_like, y0)
        none = jnp.zeros((), jnp.int32)
        first = Attempt(
            trips=none,
            radius=state.radius,
            member=none,
            increment=zero,
            error=zero,
            end=RadiusEstimate(state.radius, state.direction, f0, none),
            evaluations=state.evaluations + jumps,
            jvps=state.jvps,
            again=possible,
            sound=jnp.zeros((), bool),
        )
        if self.derivative == "reverse":
            done = reverse.attempts(self, start, state, first)
        else:
            done = self.attempts(start, state, first)

        # A step that failed changes nothing and asks for rejection; where no step can succeed it
        # asks for acceptance, as diffrax drops the result of a rejected step.
        hopeless = ~usable | stuck
        verdict = jnp.where(hopeless, 0.0, jnp.inf)
        increment = _choose(done.sound, done.increment, zero)
        error = jax.tree.map(
            lambda e: jnp.where(done.sound, e, verdict.astype(e.dtype)), done.error
        )
        f1 = _choose(done.sound, done.end.f, f0)
        y1 = jax.tree.map(jnp.add, y0, increment)
        results = diffrax.RESULTS
        result = results.where(done.sound, results.successful, results.nonlinear_divergence)
        result = results.where(stuck, results.dt_min_reached, result)
        result = results.where(usable, result, results.nonfinite)

        dense_info = {
            "y0": y0,
            "y1": y1,
            "k0": jax.tree.map(lambda f: start.scale(f) * f, f0),
            "k1": jax.tree.map(lambda f: start.scale(f) * f, f1),
        }
        next_state = StabilisedState(
            f=f1,
            radius=jnp.where(done.sound, done.end.radius, state.radius),
            direction=_choose(done.sound, done.end.direction, state.direction),
            stages=jnp.asarray(table.stages, jnp.int32)[done.member],
            evaluations=done.evaluations,
            jvps=done.jvps,
        )
        if self.report_work:
            # Floats, as diffrax replaces NaN throughout the error; exact to 2^24 a step.
            spent = (done.evaluations - state.evaluations, done.jvps - state.jvps)
            error = (error, tuple(n.astype(jnp.float32) for n in spent))
        return y1, error, dense_info, next_state, result

    def attempts(self, start: Start, state: StabilisedState, first: Attempt) -> Attempt:
        """The step, repeated while its stage count proves too small."""
        table = self.table
        intervals = jnp.asarray(table.intervals, state.radius.dtype)
        size = lax.stop_gradient(jnp.abs(start.control)).astype(state.radius.dtype)

        def attempt(carry: Attempt) -> Attempt:
            index = _cover(intervals, self.safety * size * carry.radius)
            increment, last, finishing = self.stages(start, index)
            y1 = jax.tree.map(jnp.add, start.y0, increment)
            direction = mixed(state.direction, last)
            end = self._look(
                start.terms, start.t1, y1, start.args, direction, state.radius, ITERATIONS
            )
            error = self.estimate(index, increment, start.f0, end.f, finishing, start.scale)
            finite = _finite(increment) & _finite(end.f)
            covered = size * end.radius <= intervals[index]
            possible = self.safety * size * end.radius <= intervals[-1]
            return Attempt(
                trips=carry.trips + 1,
                radius=jnp.maximum(carry.radius, end.radius),
                member=index,
                increment=increment,
                error=error,
                end=end,
                evaluations=carry.evaluations + jnp.asarray(table.stages, jnp.int32)[index],
                jvps=carry.jvps + end.jvps,
                again=finite & ~covered & possible & (carry.trips < REPETITIONS),
                sound=finite & covered,
            )

        return lax.while_loop(lambda carry: carry.again, attempt, first)

    def _first_evaluation(
        self, terms: Any, t0: Any, y0: PyTree, args: PyTree, state: StabilisedState, made_jump: Any
    ) -> tuple[PyTree, Any]:
        if made_jump is False:
            return state.f, 0
        f0 = lax.cond(made_jump, lambda: terms.vf(t0, y0, args), lambda: state.f)
        return f0, jnp.asarray(made_jump).astype(jnp.int32)

    def _look(
        self,
        terms: Any,
        t: Any,
        y: PyTree,
        args: PyTree,
        direction: PyTree,
        previous: Array,
        iterations: int,
    ) -> RadiusEstimate:
        """The vector field and the spectral radius of its Jacobian at (t, y)."""
        if self.spectral_radius is not None:
            radius = jnp.asarray(self.spectral_radius(t, y, args)).astype(previous.dtype)
            return RadiusEstimate(
                lax.stop_gradient(radius),
                direction,
                terms.vf(t, y, args),
                jnp.zeros((), jnp.int32),
            )
        return power_iteration(
            lambda point: terms.vf(t, point, args),
            y,
            lax.stop_gradient(direction),
            previous,
            TOLERANCE,
            iterations,
            self.coupled,
        )

    def stages(
        self,
        start: Start,
        index: Int[Array, ""],
        loop: Callable[[Int[Array, ""], Callable, PyTree], PyTree] = as_long,
    ) -> tuple[PyTree, PyTree, PyTree]:
        """`y1 - y0`, the last stage difference, and `h f` at the finishing stages (stacked)."""
        terms, t0, _, y0, args, f0, control = start
        table = self.table
        begin = jnp.asarray(table.starts, jnp.int32)[index]
        length = jnp.asarray(table.lengths, jnp.int32)[index]
        rows = jnp.asarray(table.rows)

        def evaluate(abscissa: Array, increment: PyTree) -> PyTree:
            y = jax.tree.map(jnp.add, y0, increment)
            f = terms.vf(t0 + (abscissa.astype(control.dtype) * control), y, args)
            return jax.tree.map(lambda x: control.astype(x.dtype) * x, f)

        k0 = jax.tree.map(lambda x: control.astype(x.dtype) * x, f0)
        first = rows[begin, 2]
        difference = jax.tree.map(lambda k: first.astype(k.dtype) * k, k0)

        def stage(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            j, increment, difference = carry
            r, q, m, g, abscissa = rows[begin + j]
            k = evaluate(abscissa, increment)

            def combine(d: Array, e: Array, k: Array, k0: Array) -> Array:
                a, b, c, w = (x.astype(d.dtype) for x in (r, q, m, g))
                return a * d + b * e + c * k + w * k0

            difference = jax.tree.map(combine, increment, difference, k, k0)
            return j + 1, jax.tree.map(jnp.add, increment, difference), difference

        _, increment, difference = loop(
            length, stage, (jnp.ones((), jnp.int32), difference, difference)
        )
        finish_a, finish_b, finish_c = table.finish_a, table.finish_b, table.finish_c
        count = finish_b.shape[1]
        if count == 0:
            return increment, difference, None
        a, b, c = (jnp.asarray(field)[index] for field in (finish_a, finish_b, finish_c))
        base = increment
        slots = jax.tree.map(lambda d: jnp.zeros((count, *d.shape), d.dtype), base)

        def finish(i: Array, slots: PyTree) -> PyTree:
            k = evaluate(c[i], _weighted(a[i], slots, base))
            return jax.tree.map(lambda s, x: s.at[i].set(x), slots, k)

        slots = lax.fori_loop(0, count, finish, slots)
        return _weighted(b, slots, base), difference, slots


def _cover(intervals: Array, needed: Array) -> Array:
    index = jnp.searchsorted(intervals, needed).astype(jnp.int32)
    return jnp.minimum(index, jnp.asarray(intervals.shape[0] - 1, jnp.int32))


def _weighted(weights: Array, slots: PyTree, base: PyTree) -> PyTree:
    def combine(s: Array, d: Array) -> Array:
        w = weights.astype(s.dtype)
        return d + jnp.tensordot(w, s, axes=1, precision=lax.Precision.HIGHEST)

    return jax.tree.map(combine, slots, base)


def _finite(tree: PyTree) -> Array:
    return jnp.isfinite(norm(tree))


def _choose(condition: Array, a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)
