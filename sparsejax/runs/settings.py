"""A claim's config as JSON and as a command line, and back."""

from __future__ import annotations

import dataclasses
import shlex
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sparsejax.runs.strict_json import encode

_NON_FINITE = ("inf", "-inf", "nan")


def config_from_json(config_type: type, data: dict[str, Any]) -> Any:
    """The config that `encode` wrote as `data`: lists become tuples, "inf" a float, by its types.

    Fields that `data` lacks take their defaults, so folders of earlier releases stay readable.

    Raises:
        ValueError: for a field that `config_type` does not have, or a value that is not of its
            field's type.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Config:
    ...     sizes: tuple[int, ...] = (64,)
    ...     eps: float = 0.3
    >>> config_from_json(Config, {"sizes": [64, 128], "eps": "inf"})
    Config(sizes=(64, 128), eps=inf)
    """
    hints = get_type_hints(config_type)
    names = {field.name for field in dataclasses.fields(config_type)}
    values = {}
    for name, value in data.items():
        if name not in names:
            raise ValueError(f"{name!r} is no field of this claim's config")
        try:
            values[name] = _restore(hints[name], value)
        except (TypeError, ValueError):
            raise ValueError(f"{name} = {value!r} is not of the type {hints[name]}") from None
    return config_type(**values)


def _restore(hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        for arm in get_args(hint):
            try:
                return _restore(arm, value)
            except (TypeError, ValueError):
                continue
        raise ValueError
    if origin is tuple:
        arms = get_args(hint)
        if not isinstance(value, list):
            raise TypeError
        if arms[-1:] == (Ellipsis,):
            arms = arms[:1] * len(value)
        return tuple(_restore(arm, item) for arm, item in zip(arms, value, strict=True))
    if origin is Literal:
        if value not in get_args(hint):
            raise ValueError
        return value
    if hint is float:
        if isinstance(value, bool) or (isinstance(value, str) and value not in _NON_FINITE):
            raise TypeError
        return float(value)
    if hint is Path:
        return Path(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise TypeError
    return value


def differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """One line for each field in which two encoded configs differ.

    >>> differences({"eps": 0.3, "t1": 60.0}, {"eps": 0.1, "t1": 60.0})
    ['eps: 0.3 there, 0.1 here']
    """
    lines = []
    for name in [*there, *(name for name in here if name not in there)]:
        ours, theirs = (side.get(name, "absent") for side in (here, there))
        if ours != theirs:
            lines.append(f"{name}: {_plain(theirs)} there, {_plain(ours)} here")
    return lines


def _plain(value: Any) -> str:
    return " ".join(map(_plain, value)) if isinstance(value, list) else str(value)


def command_line(claim: str, config: Any, *, control: bool = False, out: str | None = None) -> str:
    """The command that runs a claim with this config, every field spelled out.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Config:
    ...     sizes: tuple[int, ...] = (64, 128)
    ...     shuffle_labels: bool = False
    >>> command_line("my-claim", Config(), out="results/mine")
    'sparsejax verify my-claim --out results/mine --sizes 64 128 --no-shuffle-labels'
    """
    words = ["sparsejax", "verify", claim]
    if control:
        words.append("--control")
    if out is not None:
        words += ["--out", out]
    for name, value in encode(config).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words.append(f"--{option}")
            words += map(str, value if isinstance(value, list) else [value])
    return shlex.join(words)
