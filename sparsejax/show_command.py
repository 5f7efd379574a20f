"""`sparsejax show`: the picture of a ready-made module and a lift of it, from words."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from typing import Any

from sparsejax.command_words import UsageError, named, no_such


def show(words: list[str]) -> int:
    """Draw what the words after `show` ask for, and print where it is; the exit code."""
    from sparsejax.graphs import READY_MADE
    from sparsejax.show import check_picture, draw

    name, rest = named(words, READY_MADE, "show", "module")
    if name not in READY_MADE:
        raise UsageError(no_such("module", name, READY_MADE))
    picture, arguments = _parse_picture(name, rest)
    try:
        path = check_picture(name, picture)
        figure = draw(READY_MADE[name](**arguments), picture)
    except ValueError as error:
        raise UsageError(str(error)) from None
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"out: {path} cannot be written: {error.strerror}") from None
    print(path)
    return 0


def _parse_picture(name: str, words: list[str]) -> tuple[Any, dict[str, Any]]:
    import tyro

    from sparsejax.graphs import READY_MADE
    from sparsejax.show import Picture, constructor_options, description

    construct = READY_MADE[name]
    arguments = make_dataclass(
        "Arguments",
        [
            (option, kind, field(default=default))
            for option, kind, default in constructor_options(construct)
        ],
        frozen=True,
    )
    invocation = make_dataclass(
        "Invocation",
        [
            ("picture", tyro.conf.FlagCreatePairsOff[Picture], field(default=Picture())),
            ("module", arguments, field(default=arguments())),
        ],
        frozen=True,
    )
    parsed: Any = tyro.cli(
        invocation,
        args=words,
        prog=f"sparsejax show {name}",
        description=description(construct),
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return parsed.picture, vars(parsed.module)
