"""`sparsejax show`: the picture of a ready-made module and a lift of it, from words."""

from __future__ import annotations

from sparsejax.command_words import UsageError, named, no_such, save_picture
from sparsejax.constructor_words import description, options_of, parsed_words


def show(words: list[str]) -> int:
    """Draw what the words after `show` ask for, and print where it is; the exit code."""
    from sparsejax.graphs import READY_MADE
    from sparsejax.show import Picture, check_picture, draw

    name, rest = named(words, READY_MADE, "show", "module")
    if name not in READY_MADE:
        raise UsageError(no_such("module", name, READY_MADE))
    construct = READY_MADE[name]
    picture, arguments = parsed_words(
        rest, f"show {name}", "module", options_of(construct), Picture(), description(construct)
    )
    try:
        path = check_picture(name, picture)
        figure = draw(construct(**arguments), picture)
    except ValueError as error:
        raise UsageError(str(error)) from None
    save_picture(figure, path)
    print(path)
    return 0
