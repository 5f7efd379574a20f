"""What an integration cost, in evaluations of the vector field and Jacobian-vector products."""

import diffrax
from jaxtyping import Array

from .stabilised import AbstractStabilisedRungeKutta


def evaluation_counts(
    solver: diffrax.AbstractSolver, solution: diffrax.Solution
) -> dict[str, Array]:
    """Counts of the work in a `diffrax.diffeqsolve`, by name.

    `steps` (accepted and rejected) and `rejected_steps` always; `gradient_evaluations` (of the
    vector field) for the stabilised and the explicit Runge-Kutta methods;
    `hessian_vector_products` (Jacobian-vector products of the vector field) for the stabilised
    ones, which need the solution to be saved with `SaveAt(solver_state=True)`. The two
    evaluations by which diffrax chooses the first step when `dt0=None` are not included.

    Raises:
        ValueError: the solver state was not saved.
    """
    steps, rejected = solution.stats["num_steps"], solution.stats["num_rejected_steps"]
    counts = {"steps": steps, "rejected_steps": rejected}
    if isinstance(solver, AbstractStabilisedRungeKutta):
        state = solution.solver_state
        if state is None:
            raise ValueError("save the solution with diffrax.SaveAt(..., solver_state=True)")
        counts["gradient_evaluations"] = state.evaluations
        counts["hessian_vector_products"] = state.jvps
    elif isinstance(solver, diffrax.AbstractERK):
        tableau = solver.tableau
        if isinstance(tableau, diffrax.ButcherTableau):
            stages = tableau.num_stages
            counts["gradient_evaluations"] = (
                steps * (stages - 1) + 1 if tableau.fsal else steps * stages
            )
    return counts
