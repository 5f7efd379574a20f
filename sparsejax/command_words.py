"""What commands share: which word is the name, what to say of an unknown one, where pictures go."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# Options whose value could be taken for the claim's name.
_TAKE_A_WORD = {"--out", "--preset", "--devices", "--coordinator", "--processes", "--process"}


class UsageError(Exception):
    """What was asked for cannot be done; the message says what can."""


def named(
    words: list[str], known: Mapping[str, Any], command: str, what: str, epilog: str = ""
) -> tuple[str, list[str]]:
    """The name among the words, and the other words.

    Raises:
        UsageError: there is none.
        SystemExit: help was asked for, and has been given.
    """
    # The name decides which options there are, so it is found before they are parsed.
    places = [
        place
        for place, word in enumerate(words)
        if not word.startswith("-") and not {*words[place - 1 : place]} & _TAKE_A_WORD
    ]
    if not places:
        if {"-h", "--help"} & set(words):
            print(f"usage: sparsejax {command} {what.upper()} [OPTIONS]\n\n{_all(what, known)}\n")
            print(f"sparsejax {command} {what.upper()} --help shows the {what}'s options.")
            if epilog:
                print(f"\n{epilog}", end="")
            raise SystemExit(0)
        raise UsageError(f"{command} needs a {what}. {_all(what, known)}")
    place = next((place for place in places if words[place] in known), places[0])
    return words[place], words[:place] + words[place + 1 :]


def save_picture(figure: Any, path: Path) -> None:
    """Write a figure.

    Raises:
        UsageError: that cannot be.
    """
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise not_writable(path, error) from None


def _all(what: str, known: Iterable[str]) -> str:
    return f"{what.capitalize()}s: {', '.join(known)}"


def no_such(what: str, name: str, known: Mapping[str, Any]) -> str:
    """That a name is unknown, and which is meant, perhaps."""
    close = difflib.get_close_matches(name, known)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"there is no {what} named {name!r}: {hint}{_all(what, known)}"


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write each file whole into a folder, made where there is none; the path of the first.

    Raises:
        UsageError: the folder cannot be written.
    """
    from sparsejax.whole_files import write_whole

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_whole(folder / name, content)
    except OSError as error:
        raise not_writable(folder, error) from None
    return folder / next(iter(files))


def not_writable(path: Path, error: OSError) -> UsageError:
    """What is said of `--out` where a file or folder cannot be written."""
    return UsageError(f"out: {path} cannot be written: {error.strerror}")
