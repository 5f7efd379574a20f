"""`sparsejax target`: what theory predicts of a target, from its formula or its name."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sparsejax.command_words import UsageError, named, no_such, save_picture
from sparsejax.constructor_words import description, options_of, parsed_words
from sparsejax.terminal import print_composition, print_table

if TYPE_CHECKING:
    from sparsejax.graphs import PerceptronModule
    from sparsejax.targets import Prediction, Target

# A formula has a coordinate; it may begin with a minus, which here begins no option.
_FORMULA = re.compile(r"-?([^-].*)?\b[xh][0-9]", re.DOTALL)
_EPILOG = "Or a formula in place of a name, such as 'x1 + x1*x2 + 0.5*x1*x2*x3'.\n"
# Terms that a table spells out.
_SHOWN = 12
# Constituents of which the matched module is put together.
_MOST_CONSTITUENTS = 1000


@dataclass(frozen=True)
class Printed:
    """What `target` takes beside what the target needs."""

    out: Path | None = None
    """Where a drawing of the target's composition goes: .png, .pdf or .svg. None: no drawing."""
    json: bool = False
    """Print everything on standard output as JSON."""


@dataclass(frozen=True)
class OfFormula:
    """What a formula leaves open."""

    dims: int | None = None
    """Number of input coordinates. None: the largest one that occurs."""
    law: Literal["cube", "gaussian"] = "cube"
    """The inputs: vertices of the cube, where squares are 1, or standard Gaussian."""


def target(words: list[str]) -> int:
    """Print what theory predicts of the target that the words after `target` ask for.

    Gives the exit code.

    Raises:
        UsageError: no such target, a formula that cannot be read, a drawing that cannot be written.
    """
    from sparsejax.targets import parse_target, predicted

    known = known_targets()
    name, rest = _name_or_formula(words, known)
    ready_made = name.replace("-", "_")
    construct: Callable[..., Any]
    if ready_made in known:
        construct = known[ready_made]
        command, options = f"target {ready_made}", options_of(construct)
    elif re.search("[0-9]", name):
        construct = functools.partial(parse_target, name)
        command, options = "target FORMULA", OfFormula
    else:
        raise UsageError(f"{no_such('target', name, known)}. {_EPILOG.strip()}")
    printed, arguments = parsed_words(
        rest, command, "target", options, Printed(), description(construct)
    )
    try:
        path = None if printed.out is None else _checked(printed.out)
        found = predicted(construct(**arguments))
        figure = None if path is None else _drawing(found, name)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if path is not None:
        save_picture(figure, path)
    if printed.json:
        from sparsejax.runs.strict_json import dumps

        print(dumps(as_json(found)), end="")
        return 0
    print_table(quantities(found))
    print_table(coordinates(found))
    print_composition(found.dag)
    if path is not None:
        print(path)
    return 0


def known_targets() -> Mapping[str, Callable[..., Target]]:
    """The ready-made targets, and lifts as teachers."""
    from sparsejax.lifts import random_teacher
    from sparsejax.targets import READY_MADE

    teacher = functools.partial(random_teacher, seed=0, dims=6, size=5, in_degree=2)
    return {**READY_MADE, "teacher": teacher}


def _name_or_formula(words: list[str], known: Any) -> tuple[str, list[str]]:
    for place, word in enumerate(words):
        if words[place - 1 : place] != ["--out"] and _FORMULA.match(word):
            return word, words[:place] + words[place + 1 :]
    return named(words, known, "target", "target", _EPILOG)


def _checked(path: Path) -> Path:
    from sparsejax.show import Picture, check_picture

    return check_picture("target", Picture(out=path))


def _drawing(found: Prediction, name: str) -> Any:
    from sparsejax.graphs.dag_drawing import draw_dag

    return draw_dag(found.dag, title=name)


def quantities(found: Prediction) -> list[dict[str, Any]]:
    """A row for each quantity: what theory says, and what that means or why it says nothing."""
    nodes = len(found.dag.ancestors)
    powers = "of accuracy eps, by m derivatives"
    row = {
        "inputs": (found.dims, f"law: {found.law}"),
        "support": (_names(found.support), _count(len(found.support), "coordinate")),
        "composition": (
            _count(nodes, "constituent"),
            f"of at most {_count(found.arity, 'variable')}",
        ),
        "degree": (found.degree, ""),
        "coefficients": (_coefficients(found), _count(len(found.coefficients or ()), "term")),
        "leap": (found.leap, f"attained by {_ordering(found)}"),
        "merged staircase": (found.merged_staircase, "a leap of at most 1"),
        "information exponent": (found.information_exponent, "lowest Hermite degree"),
        "steps of online SGD": (
            _power(found.dims, found.step_exponent),
            "up to logarithms and constants; a conjecture in general",
        ),
        "samples": (found.sample_complexity, "an order of magnitude, matched deep networks"),
        "units, shallow": (_of_accuracy(found.parameters_shallow), powers),
        "units, matched deep": (_of_constituents(found), powers),
        "matched module": (_size(matched_module(found)), "by graphs.from_target, to be lifted"),
    }
    fields = {
        "merged staircase": "merged_staircase",
        "information exponent": "information_exponent",
        "steps of online SGD": "step_exponent",
        "samples": "sample_complexity",
        "units, shallow": "parameters_shallow",
        "units, matched deep": "parameters_deep",
    }
    no_module = f"of a constant, or of more than {_MOST_CONSTITUENTS} constituents"
    return [
        {
            "quantity": name,
            "theory": value,
            "meaning": meaning
            if value is not None
            else f"not said: {found.why_not.get(fields.get(name, name), no_module)}",
        }
        for name, (value, meaning) in row.items()
    ]


def coordinates(found: Prediction) -> list[dict[str, Any]]:
    """A row for each coordinate of the support: its Sobol indices, where they are known."""
    if found.sobol_first is None or found.sobol_total is None:
        return []
    return [
        {"coordinate": f"x{i}", "Sobol, by itself": first, "Sobol, in all": found.sobol_total[i]}
        for i, first in found.sobol_first.items()
    ]


def as_json(found: Prediction) -> dict[str, Any]:
    """All fields, in what JSON has."""
    fields = dict(vars(found))
    for name in ("sobol_first", "sobol_total"):
        if fields[name] is not None:
            fields[name] = {f"x{i}": value for i, value in fields[name].items()}
    fields["dag"] = found.dag.as_json()
    module = matched_module(found)
    fields["matched_module"] = (
        None
        if module is None
        else {
            "vertices": [vertex.name for vertex in module.vertices],
            "edges": [edge.name for edge in module.edges],
        }
    )
    return fields


def matched_module(found: Prediction) -> PerceptronModule | None:
    """The base graph of the target's own DAG; None of constants and of very large ones."""
    from sparsejax.graphs import from_target

    if not found.dag.support or len(found.dag.ancestors) > _MOST_CONSTITUENTS:
        return None
    return from_target(found.dag)


def _size(module: PerceptronModule | None) -> str | None:
    return (
        None
        if module is None
        else (f"{_count(len(module.vertices), 'vertex')}, {_count(len(module.edges), 'edge')}")
    )


def _names(monomial: tuple[int, ...], sign: str = ", ") -> str:
    shown = sign.join(f"x{i}" for i in monomial[:_SHOWN])
    return shown + (f"{sign}..." if len(monomial) > _SHOWN else "") or "none"


def _coefficients(found: Prediction) -> str | None:
    if found.coefficients is None:
        return None
    shown = [f"{_product(m)}: {value:.4g}" for m, value in found.coefficients[:_SHOWN]]
    return ", ".join(shown + ["..."] * (len(found.coefficients) > _SHOWN)) or "none"


def _product(monomial: tuple[int, ...]) -> str:
    """`h2(x1) x3`, of which the cube has the first order only."""
    from sparsejax.targets.monomials import factors_of

    factors = factors_of(monomial)
    return " ".join(factors[:_SHOWN]) + " ..." * (len(factors) > _SHOWN) or "1"


def _ordering(found: Prediction) -> str:
    ordering = found.ordering or ()
    return ", ".join([*map(_product, ordering[:_SHOWN])] + ["..."] * (len(ordering) > _SHOWN))


def _count(number: int, what: str) -> str:
    several = "vertices" if what == "vertex" else f"{what}s"
    return f"{number} {what if number == 1 else several}"


def _power(dims: int, exponent: float | int | None) -> str | None:
    return None if exponent is None else f"about d^{exponent:g} = {float(dims) ** exponent:.3g}"


def _of_accuracy(exponent: int | None) -> str | None:
    return None if exponent is None else f"eps^(-{exponent}/m)"


def _of_constituents(found: Prediction) -> str | None:
    """The sum over constituents, as many of each number of variables as there are."""
    if found.parameters_deep is None:
        return None
    reads = Counter(len(found.dag.parents_of(node)) for node in found.dag.ancestors)
    return " + ".join(
        f"{'' if count == 1 else f'{count} '}eps^(-{variables}/m)"
        for variables, count in sorted(reads.items(), reverse=True)
    )
