"""Reverse-mode derivatives of a step whose stage count is only known at run time.

Forwards a step is what it always is: loops that end when they are done. Backwards the stage count
that it chose is known, and the step is replayed with it through loops of fixed length, whose stages
beyond the count are skipped. The choice itself has no derivative.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, PyTree

if TYPE_CHECKING:
    from .stabilised import AbstractStabilisedRungeKutta, Attempt, StabilisedState, Start


def loop_in_blocks(most: int) -> Callable[[Int[Array, ""], Callable, PyTree], PyTree]:
    """`loop(length, stage, carry)` for carries that begin with a count, of at most `most` trips.

    In blocks, both levels recomputed backwards: `O(sqrt(most))` carries are stored, and blocks
    beyond `length` cost nothing.
    """
    size = max(1, math.isqrt(most))

    def loop(length: Int[Array, ""], stage: Callable, carry: PyTree) -> PyTree:
        def unless_done(part: Callable) -> Callable:
            # The recomputation is outside of the condition: what a branch stores is stored anew
            # in every trip, the arrays of the vector field included.
            @jax.checkpoint
            def go(carry):
                return lax.cond(carry[0] < length, part, lambda same: same, carry)

            return lambda carry, _: (go(carry), None)

        def block(carry: PyTree) -> PyTree:
            return lax.scan(unless_done(stage), carry, length=size)[0]

        return lax.scan(unless_done(block), carry, length=-(-most // size))[0]

    return loop


def held(tree: PyTree) -> PyTree:
    """The same without derivatives."""
    return jax.tree.map(lambda x: lax.stop_gradient(x) if eqx.is_array(x) else x, tree)


def closed(terms: Any, t: Any, y: PyTree, args: PyTree) -> diffrax.ODETerm:
    """The term with all arrays that its vector field closes over as leaves."""
    return diffrax.ODETerm(eqx.filter_closure_convert(terms.vf, t, y, args))


def attempts(
    solver: AbstractStabilisedRungeKutta, start: Start, state: StabilisedState, first: Attempt
) -> Attempt:
    """`solver.attempts` with a reverse-mode derivative instead of a forward one."""
    start = start._replace(terms=closed(start.terms, start.t0, start.y0, start.args))
    if solver.spectral_radius is not None:
        radius = eqx.filter_closure_convert(solver.spectral_radius, start.t0, start.y0, start.args)
        solver = dataclasses.replace(solver, spectral_radius=radius)
    return _attempts(start, *held((solver, state, first)))


@eqx.filter_custom_vjp
def _attempts(start, solver, state, first):
    return solver.attempts(start, state, first)


@_attempts.def_fwd
def _forward(perturbed, start, solver, state, first):
    del perturbed
    done = solver.attempts(start, state, first)
    return done, (done.member, done.sound)


@_attempts.def_bwd
def _backward(chosen, cotangents, perturbed, start, solver, state, first):
    del perturbed, state, first
    member, sound = chosen
    moving, still = eqx.partition(start, eqx.is_inexact_array)

    def replay(moving):
        again = eqx.combine(moving, still)
        loop = loop_in_blocks(max(1, int(solver.table.lengths.max()) - 1))
        increment, _, finishing = solver.stages(again, member, loop)
        y1 = jax.tree.map(jnp.add, again.y0, increment)
        f1 = again.terms.vf(again.t1, y1, again.args)
        error = solver.estimate(member, increment, again.f0, f1, finishing, again.scale)
        return increment, error, f1

    results, back = jax.vjp(replay, moving)
    asked = (cotangents.increment, cotangents.error, cotangents.end.f)
    # A step that failed changed nothing; its replay may be anything.
    given = jax.tree.map(
        lambda r, c: jnp.zeros_like(r) if c is None else jnp.where(sound, c, 0), results, asked
    )
    return jax.tree.map(lambda g: jnp.where(sound, g, 0), back(given)[0])
