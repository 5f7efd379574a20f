"""Flax is an extra: imported where it is used, and missed by name."""

import importlib
from types import ModuleType


def flax_module(name: str) -> ModuleType:
    """The module of that name, which needs Flax.

    Raises:
        ImportError: Flax is not installed; says what installs it.

    Example:
        >>> flax_module("flax.linen").__name__
        'flax.linen'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "flax":
            raise
        raise ImportError('this needs Flax: pip install "sparsejax[flax]"') from error
