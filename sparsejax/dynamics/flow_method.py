"""Which integrator runs a gradient flow, why, and at which tolerances."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax.numpy as jnp

from sparsejax.dynamics.fixed_step import FIXED_STEP_RULES
from sparsejax.dynamics.solvers import RKC2, RKC4, ROCK2, ROCK4

ADAPTIVE: dict[str, Callable[[], diffrax.AbstractSolver]] = {
    "rkc2": RKC2,
    "rock2": ROCK2,
    "rock4": ROCK4,
    "rkc4": RKC4,
    "tsit5": diffrax.Tsit5,
    "dopri5": diffrax.Dopri5,
    "dopri8": diffrax.Dopri8,
    "bosh3": diffrax.Bosh3,
    "heun": diffrax.Heun,
    "kvaerno3": diffrax.Kvaerno3,
    "kvaerno5": diffrax.Kvaerno5,
}
# Measured in `benchmarks/work_precision.py`: below this, RKC4 ends one to twenty tolerances from
# the exact flow and RKC2 ten to five hundred. Above, RKC2 is the cheaper one on stiff transients,
# and where kinks of an activation keep steps short: its steps have two stages at least, not five.
TIGHT = 1e-6
_STIFF = (
    "gradient flow is stiff with a real spectrum; a stabilised explicit method spends "
    "O(sqrt(stiffness)) gradients where an ordinary explicit one spends O(stiffness)"
)
_WHY_SECOND = f"{_STIFF}; of second order, as rtol >= {TIGHT:g}"
_WHY_FOURTH = (
    f"{_STIFF}; of fourth order, as rtol < {TIGHT:g}, where one of second order ends many "
    "tolerances from the exact flow"
)
# Roundoff of one step reaches the error estimate multiplied by about this.
_ROUNDOFF = 16


class FlowMethod(NamedTuple):
    """A solver under error control, with its description for `Trajectory.stats`."""

    solver: diffrax.AbstractSolver
    rtol: float
    atol: float
    description: tuple[tuple[str, Any], ...]


def flow_method(
    solver: str | diffrax.AbstractSolver | None, rtol: float, atol: float | None, dtype: Any
) -> FlowMethod:
    """The solver asked for, or the default and why; tolerances that `dtype` resolves.

    Raises:
        ValueError: an unknown name.
    """
    resolved = _ROUNDOFF * float(jnp.finfo(dtype).eps)
    notes = []
    if rtol < resolved:
        notes.append(
            f"rtol={rtol:g} is below what {jnp.dtype(dtype).name} resolves: "
            f"integrated at {resolved:.2g}"
        )
    used = max(rtol, resolved)
    # An absolute tolerance has no floor of its own: parameters may be small.
    absolute = used if atol is None else atol
    if isinstance(solver, diffrax.AbstractSolver):
        chosen, name, why = solver, type(solver).__name__, "asked for"
    elif solver is None and used >= TIGHT:
        chosen, name, why = RKC2(), "rkc2", _WHY_SECOND
    elif solver is None:
        chosen, name, why = RKC4(), "rkc4", _WHY_FOURTH
    elif solver in ADAPTIVE:
        chosen, name, why = ADAPTIVE[solver](), solver, "asked for"
    else:
        known = ", ".join([*ADAPTIVE, *FIXED_STEP_RULES])
        raise ValueError(f"unknown solver {solver!r}; known are {known}")
    described: list[tuple[str, Any]] = [
        ("solver", name),
        ("why", why),
        ("rtol", float(used)),
        ("atol", float(absolute)),
    ]
    if notes:
        described.append(("notes", tuple(notes)))
    return FlowMethod(chosen, used, absolute, tuple(described))
