"""The words of a command line that say how a ready-made thing is constructed."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import field, make_dataclass
from typing import Any, Literal


def constructor_options(construct: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """`(name, type, default)` of every argument that a word of the command line can give.

    >>> from sparsejax.graphs import READY_MADE
    >>> [name for name, _, _ in constructor_options(READY_MADE["mlp"])]
    ['inputs', 'hidden', 'outputs', 'activation', 'bias', 'input_as']
    """
    plain = construct.func if isinstance(construct, functools.partial) else construct
    hints = typing.get_type_hints(inspect.unwrap(plain))
    return [
        (name, hints[name], parameter.default)
        for name, parameter in inspect.signature(construct).parameters.items()
        if parameter.default is not inspect.Parameter.empty and _is_plain(hints[name])
    ]


def _is_plain(hint: Any) -> bool:
    """Numbers, words, choices, and sequences and unions of them."""
    if hint in (bool, int, float, str, type(None), Ellipsis):
        return True
    if typing.get_origin(hint) is Literal:
        return True
    combined = typing.get_origin(hint) in (tuple, Sequence, typing.Union, types.UnionType)
    return combined and all(_is_plain(part) for part in typing.get_args(hint))


def options_of(construct: Callable[..., Any]) -> type:
    """The arguments of `constructor_options` as a dataclass, to be parsed."""
    options = [
        (name, kind, field(default=default))
        for name, kind, default in constructor_options(construct)
    ]
    return make_dataclass("Arguments", options, frozen=True)


def description(construct: Callable[..., Any]) -> str:
    """What a constructor's docstring says before its errors and examples."""
    plain = construct.func if isinstance(construct, functools.partial) else construct
    return (inspect.getdoc(plain) or "").split("\n\nRaises:")[0].split("\n\nExample:")[0]


def parsed_words(
    words: list[str], command: str, what: str, options: type, beside: Any, about: str
) -> tuple[Any, dict[str, Any]]:
    """What the words say of the command's own options, and of the constructor's.

    `beside`: a dataclass of the command's own, at their defaults; `options`: one of the constructor
    of a `what`; both of its help, which begins with `about`.

    Raises:
        SystemExit: help was asked for, or words that are no options.
    """
    import tyro

    own, flags = type(beside), typing.cast(Any, tyro.conf.FlagCreatePairsOff)
    invocation = make_dataclass(
        "Invocation",
        [
            (own.__name__.lower(), flags[own], field(default=beside)),
            (what, options, field(default=options())),
        ],
        frozen=True,
    )
    parsed: Any = tyro.cli(
        invocation,
        args=words,
        prog=f"sparsejax {command}",
        description=about,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return getattr(parsed, own.__name__.lower()), dict(vars(getattr(parsed, what)))
