"""What an integration of a flow costs, and how far it ends from a reference."""

import time
from collections.abc import Callable
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from benchmarks.flow_problems import FlowProblem
from sparsejax.dynamics.solvers import RKC2, RKC4, ROCK2, ROCK4, counting, evaluation_counts

SOLVERS: dict[str, diffrax.AbstractSolver] = {
    "rkc2": RKC2(),
    "rkc4": RKC4(),
    "rock2": ROCK2(),
    "rock4": ROCK4(),
    "tsit5": diffrax.Tsit5(),
    "bosh3": diffrax.Bosh3(),
    "dopri5": diffrax.Dopri5(),
    "dopri8": diffrax.Dopri8(),
    "heun": diffrax.Heun(),
}


class Work(NamedTuple):
    """One integration: its end, its counts, and the wall-clock seconds of a compiled run."""

    end: jax.Array
    counts: dict[str, int]
    seconds: float


def integrator(solver: diffrax.AbstractSolver, problem: FlowProblem) -> Callable[[float], Work]:
    """A function of the tolerance; it compiles once, and no timed run compiles."""
    theta, unravel = ravel_pytree(problem.params)
    gradient = jax.grad(lambda v, loss: loss(unravel(v)))

    @eqx.filter_jit
    def solve(theta, loss, tolerance):
        counted, control = counting(solver, diffrax.PIDController(rtol=tolerance, atol=tolerance))
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, loss: -gradient(y, loss)),
            counted,
            0.0,
            problem.t1,
            None,
            theta,
            loss,
            stepsize_controller=control,
            saveat=diffrax.SaveAt(t1=True, solver_state=True, controller_state=True),
            adjoint=diffrax.ForwardMode(),
            max_steps=1_000_000,
        )
        return solution.ys[-1], evaluation_counts(counted, solution)

    compiled = []

    def run(tolerance: float) -> Work:
        argument = jnp.asarray(tolerance)
        if not compiled:
            compiled.append(solve.lower(theta, problem.loss, argument).compile())
        began = time.perf_counter()
        end, counts = jax.block_until_ready(compiled[0](theta, problem.loss, argument))
        seconds = time.perf_counter() - began
        return Work(end, {name: int(n) for name, n in counts.items()}, seconds)

    return run


def distance(end: jax.Array, reference: jax.Array) -> float:
    """`||end - reference|| / ||reference||`."""
    return float(jnp.linalg.norm(end - reference) / jnp.linalg.norm(reference))
