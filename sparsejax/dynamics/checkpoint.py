"""Checkpoints of a long run: a pytree of arrays in a folder, checksummed, the last two kept."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sparsejax.whole_files import (
    PARTIAL,
    DamagedFile,
    checksummed_npz,
    read_checksummed_npz,
    write_whole,
)

_KEPT = 2
_IDENTITY = "identity:"
_LEAF = "leaf:"


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run in a folder, numbered by how far the run was.

    A checkpoint is written under another name, flushed and renamed, so that a kill at any moment
    leaves the one before it; a damaged one is told by its checksum and passed over, with a warning.
    The files are npz without pickles.

    Args:
        folder: made if it is not there.
        identity: what the run is (see `identity_of`): a checkpoint of another run is refused.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> folder = tempfile.mkdtemp()
        >>> checkpoints = Checkpoints(folder, identity_of(start=jnp.ones(2)))
        >>> checkpoints.save(7, {"theta": jnp.arange(2.0)})
        >>> number, state = checkpoints.latest(like={"theta": jnp.zeros(2)})
        >>> number, state["theta"].tolist()
        (7, [0.0, 1.0])
    """

    folder: str | Path
    identity: dict[str, str]

    def save(self, number: int, state: PyTree) -> None:
        """Write a checkpoint; those before the last two go.

        Raises:
            OSError: the folder cannot be written.
        """
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"{_IDENTITY}{name}": np.array(value) for name, value in self.identity.items()}
        for index, leaf in enumerate(jax.tree.leaves(state)):
            arrays[f"{_LEAF}{index}"] = _plain(leaf)
        write_whole(folder / f"{number:012d}.npz", checksummed_npz(arrays))
        for old in self._files()[:-_KEPT]:
            old.unlink(missing_ok=True)
        for partial in folder.glob(f".*{PARTIAL}"):
            partial.unlink(missing_ok=True)

    def latest(self, like: PyTree) -> tuple[int, PyTree] | None:
        """The newest checkpoint that is whole, with its number; None where there is none.

        `like`: a pytree of the structure, shapes and dtypes that were saved.

        Raises:
            ValueError: the checkpoint is of another run; the message says what differs.
        """
        for path in reversed(self._files()):
            try:
                arrays = read_checksummed_npz(path)
            except (DamagedFile, FileNotFoundError) as error:
                warnings.warn(f"{error}: the checkpoint before it is used", stacklevel=2)
                continue
            self._refuse_another_run(path, arrays)
            leaves, structure = jax.tree.flatten(like)
            restored = [_as(arrays[f"{_LEAF}{i}"], leaf) for i, leaf in enumerate(leaves)]
            return int(path.stem), jax.tree.unflatten(structure, restored)
        return None

    def _files(self) -> list[Path]:
        return sorted(Path(self.folder).glob("[0-9]*.npz"))

    def _refuse_another_run(self, path: Path, arrays: Mapping[str, np.ndarray]) -> None:
        there = {
            name.removeprefix(_IDENTITY): str(value)
            for name, value in arrays.items()
            if name.startswith(_IDENTITY)
        }
        if there == self.identity:
            return
        names = sorted(set(there) | set(self.identity))
        other = [name for name in names if there.get(name) != self.identity.get(name)]
        raise ValueError(
            f"{path} is a checkpoint of another run ({', '.join(other)} differ): "
            "choose another folder, or give what that run was given"
        )


def identity_of(**parts: PyTree) -> dict[str, str]:
    """A digest of each part: of its arrays' bytes, shapes and dtypes and of its plain values.

    Functions count by name and by the values they close over (`optax.sgd(0.1)` is not
    `optax.sgd(0.2)`): their code, and the globals it names, have no portable digest.

    Example:
        >>> import jax.numpy as jnp
        >>> one, two = (identity_of(w=jnp.full(2, value)) for value in (1.0, 2.0))
        >>> one == two, one == identity_of(w=jnp.ones(2))
        (False, True)
    """
    return {name: _digest(part) for name, part in parts.items()}


def _digest(part: PyTree) -> str:
    digest = hashlib.sha256()
    for text in _spelled(part, frozenset()):
        digest.update(text)
    return digest.hexdigest()


def _spelled(part: PyTree, within: frozenset[int]) -> Iterator[bytes]:
    """What tells a part from others; `within`: functions that it is reached through."""
    for leaf in jax.tree.leaves(part):
        if isinstance(leaf, Array | np.ndarray):
            plain = _plain(leaf)
            yield f"{plain.dtype}{plain.shape}".encode()
            yield np.ascontiguousarray(plain).tobytes()
        elif callable(leaf):
            yield getattr(leaf, "__qualname__", type(leaf).__qualname__).encode()
            if id(leaf) not in within:
                for value in _closed_over(leaf):
                    yield from _spelled(value, within | {id(leaf)})
        elif isinstance(leaf, str | int | float | complex | np.generic):
            yield repr(leaf).encode()
        else:
            # Its repr may hold an address, which is another one in the next process.
            yield type(leaf).__qualname__.encode()


def _closed_over(function: Any) -> Iterator[Any]:
    if isinstance(function, functools.partial):
        yield from (function.func, function.args, function.keywords)
    yield from (getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None))
    yield (getattr(function, "__wrapped__", None), getattr(function, "__self__", None))
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # a name that is not bound yet
            yield cell.cell_contents


def _plain(leaf: Any) -> np.ndarray:
    if isinstance(leaf, Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def _as(stored: np.ndarray, like: Any) -> Any:
    if isinstance(like, Array) and jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(stored), impl=jax.random.key_impl(like))
    if stored.ndim == 0 and jax.typeof(like).weak_type:
        # As a plain number: another type would be another program.
        return jnp.asarray(stored.item())
    return jnp.asarray(stored)
