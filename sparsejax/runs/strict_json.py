"""JSON that every parser reads: non-finite numbers are the strings "inf", "-inf" and "nan"."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np


def encode(value: Any) -> Any:
    """A value as dictionaries, lists, strings, numbers, booleans and None.

    Takes dataclasses, mappings with string keys, sequences, paths, and NumPy or JAX arrays and
    scalars.

    Raises:
        TypeError: for anything else.

    >>> encode({"sizes": (64, 128), "kappa": float("inf"), "rate": np.float64(0.5)})
    {'sizes': [64, 128], 'kappa': 'inf', 'rate': 0.5}
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a JSON key is a string, not {key!r}")
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind in "biufSU":
            return encode(array.tolist())
    raise TypeError(f"{type(value).__name__} has no place in JSON: {value!r}")


def dumps(value: Any) -> str:
    """`encode`d, as indented text that ends with a newline.

    >>> print(dumps({"margin": float("-inf")}), end="")
    {
      "margin": "-inf"
    }
    """
    return json.dumps(encode(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
