"""Files of arrays that are written whole or not at all, and that say when they are damaged."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

PARTIAL = ".partial"
_DIGITS = 64


class DamagedFile(Exception):
    """A file that does not read back as it was written."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that its name never stands for half of it, not even after a power cut.

    Raises:
        OSError: when it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    # The rename itself reaches the disk with its folder; not every system opens folders.
    with contextlib.suppress(OSError):
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def checksummed_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as an npz file that ends in the SHA-256 of all bytes before it.

    The checksum lies inside the zip archive's comment: any reader of npz files takes the file, and
    there is no second file to lose.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"sha256:" + b"0" * _DIGITS
    body = buffer.getvalue()[:-_DIGITS]
    return body + _digest(body)


def read_checksummed_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file that `checksummed_npz` made.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it does not read, or not as it was written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFile(f"{path} does not read ({error.strerror})") from None
    # Before anything is parsed: a flipped bit may ask the parser for the whole memory.
    if content[-_DIGITS:] != _digest(content[:-_DIGITS]):
        raise DamagedFile(f"{path} is damaged (its checksum does not match)")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
