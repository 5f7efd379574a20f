"""What a run was made with: versions, device, precision, revision, time."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

_PACKAGES = (
    "sparsejax",
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "diffrax",
    "equinox",
    "lineax",
    "optax",
    "matfree",
    "scikit-learn",
    "pandas",
)


def current_environment() -> dict[str, Any]:
    """Versions, devices, precision, git revision if any, and the time now (UTC); JSON-able.

    The device is this process's own; `device_count` counts those of all processes.

    Starts JAX's backend, as any computation would.

    >>> sorted(current_environment())  # doctest: +NORMALIZE_WHITESPACE
    ['device_count', 'device_kind', 'dtype', 'git_revision', 'local_device_count', 'machine',
     'platform', 'process_count', 'python', 'time', 'versions', 'x64']
    """
    device = jax.local_devices()[0]
    dtype = jnp.asarray(0.0).dtype.name
    return {
        "versions": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "machine": platform.platform(),
        "platform": device.platform,
        "device_kind": device.device_kind,
        "device_count": jax.device_count(),
        "local_device_count": jax.local_device_count(),
        "process_count": jax.process_count(),
        "dtype": dtype,
        "x64": dtype == "float64",
        "git_revision": git_revision(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def git_revision() -> str | None:
    """The commit of this package's source, with "-modified" if its files differ; None outside git.

    >>> revision = git_revision()
    >>> revision is None or len(revision.removesuffix("-modified")) >= 40
    True
    """
    package = Path(__file__).resolve().parents[1]
    # An installed copy may lie inside a repository that is not ours and does not track it.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    revision = _git(package, "rev-parse", "--verify", "HEAD")
    if not revision:
        return None
    changes = _git(package, "status", "--porcelain", "--", ".")
    return f"{revision}-modified" if changes else revision


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
