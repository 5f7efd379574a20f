"""What an integration cost, in evaluations of the vector field and Jacobian-vector products."""

import dataclasses
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .stabilised import AbstractStabilisedRungeKutta


class WorkTally(eqx.Module):
    """State of a `CountingController`: the work of the rejected steps."""

    inner: PyTree
    evaluations: Int[Array, ""]
    jvps: Int[Array, ""]


class CountingController(diffrax.AbstractStepSizeController[WorkTally, Any]):
    """A step size controller that also counts the work of the steps it rejects; see `counting`."""

    controller: diffrax.AbstractStepSizeController

    def wrap(self, direction: Any) -> "CountingController":
        return CountingController(self.controller.wrap(direction))

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
    ) -> tuple[Any, WorkTally]:
        tnext, inner = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        none = jnp.zeros((), jnp.int32)
        return tnext, WorkTally(inner, none, none)

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: PyTree,
        y1_candidate: PyTree,
        args: Any,
        y_error: Any,
        error_order: Any,
        controller_state: WorkTally,
    ) -> tuple[Any, Any, Any, Any, WorkTally, Any]:
        error, spent = y_error
        keep, tprev, tnext, jump, inner, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, error, error_order, controller_state.inner
        )
        evaluations, jvps = (jnp.where(keep, 0, n.astype(jnp.int32)) for n in spent)
        tally = WorkTally(
            inner, controller_state.evaluations + evaluations, controller_state.jvps + jvps
        )
        return keep, tprev, tnext, jump, tally, result


class CountedPair(NamedTuple):
    """A solver and a controller that belong together."""

    solver: diffrax.AbstractSolver
    controller: diffrax.AbstractStepSizeController


def counting(
    solver: diffrax.AbstractSolver, controller: diffrax.AbstractStepSizeController
) -> CountedPair:
    """The pair to give to `diffrax.diffeqsolve` so that the work of rejected steps counts too.

    Save with `SaveAt(solver_state=True, controller_state=True)` and read the counts with
    `evaluation_counts`. Other solvers than the stabilised ones come back as they are.

    >>> import diffrax, jax.numpy as jnp
    >>> from sparsejax.dynamics.solvers import RKC2
    >>> solver, controller = counting(RKC2(), diffrax.PIDController(rtol=1e-4, atol=1e-6))
    >>> term = diffrax.ODETerm(lambda t, y, args: -1000.0 * (y - jnp.cos(t)))
    >>> solution = diffrax.diffeqsolve(
    ...     term, solver, 0.0, 1.0, 0.01, jnp.ones(1), stepsize_controller=controller,
    ...     saveat=diffrax.SaveAt(t1=True, solver_state=True, controller_state=True))
    >>> sorted(evaluation_counts(solver, solution))
    ['gradient_evaluations', 'hessian_vector_products', 'rejected_steps', 'steps']
    """
    if not isinstance(solver, AbstractStabilisedRungeKutta):
        return CountedPair(solver, controller)
    return CountedPair(
        dataclasses.replace(solver, report_work=True), CountingController(controller)
    )


def evaluation_counts(
    solver: diffrax.AbstractSolver, solution: diffrax.Solution
) -> dict[str, Array]:
    """Counts of the work in a `diffrax.diffeqsolve`, by name.

    `steps` (accepted and rejected) and `rejected_steps` always; `gradient_evaluations` (of the
    vector field) for the stabilised and the explicit Runge-Kutta methods;
    `hessian_vector_products` (Jacobian-vector products of the vector field) for the stabilised
    ones, which need the solution to be saved with `SaveAt(solver_state=True)`. Work in rejected
    steps of a stabilised method is included where `counting` was used. The two evaluations by
    which diffrax chooses the first step when `dt0=None` are not included.

    Raises:
        ValueError: the solver state was not saved.
    """
    if isinstance(solver, AbstractStabilisedRungeKutta) and solution.solver_state is None:
        raise ValueError("save the solution with diffrax.SaveAt(..., solver_state=True)")
    return work_counts(
        solver,
        solution.stats["num_steps"],
        solution.stats["num_rejected_steps"],
        solution.solver_state,
        solution.controller_state,
    )


def work_counts(
    solver: diffrax.AbstractSolver,
    steps: Int[Array, ""],
    rejected: Int[Array, ""],
    solver_state: PyTree,
    controller_state: PyTree,
) -> dict[str, Array]:
    """The counts of `evaluation_counts`, from what an integration has carried so far."""
    counts = {"steps": steps, "rejected_steps": rejected}
    if isinstance(solver, AbstractStabilisedRungeKutta):
        counts["gradient_evaluations"] = solver_state.evaluations
        counts["hessian_vector_products"] = solver_state.jvps
        if isinstance(controller_state, WorkTally):
            counts["gradient_evaluations"] += controller_state.evaluations
            counts["hessian_vector_products"] += controller_state.jvps
    elif isinstance(solver, diffrax.AbstractERK):
        tableau = solver.tableau
        if isinstance(tableau, diffrax.ButcherTableau):
            stages = tableau.num_stages
            counts["gradient_evaluations"] = (
                steps * (stages - 1) + 1 if tableau.fsal else steps * stages
            )
    return counts
