"""How JAX starts in a process that is ours: devices, threads, programs compiled before.

Only the command line calls these, and before anything is computed. As a library the package leaves
JAX's configuration to its user.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
_COUNT_FLAG = "--xla_force_host_platform_device_count"
_PATIENCE = (
    "--xla_cpu_collective_call_warn_stuck_timeout_seconds",
    "--xla_cpu_collective_call_terminate_timeout_seconds",
    "--xla_cpu_collective_timeout_seconds",
)
_DAYS = 1_000_000  # seconds
_LEAST_SECONDS = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def available_cores() -> int:
    """Cores that this process may use, which a scheduler may have made fewer than there are.

    >>> 1 <= available_cores() <= os.cpu_count()
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def split_cpu(devices: int | None = None) -> None:
    """Make the CPU as many devices of one thread each, `available_cores()` by default.

    Independent flows then take a core each and wait for nobody; a layer of a few hundred units is
    slower on two threads than on one. Accelerators are as they were. Left alone where the user has
    set `jax_num_cpu_devices` or XLA's own flag, unless `devices` is given.

    Raises:
        RuntimeError: `devices` is given and JAX's backend has started already.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if devices is None and (_COUNT_FLAG in flags or _setting("jax_num_cpu_devices") > 0):
        return
    try:
        jax.config.update("jax_num_cpu_devices", devices or available_cores())
    except RuntimeError:
        if devices is not None:
            raise RuntimeError("JAX has started in this process, with its own devices") from None
        return
    if _ONE_THREAD.partition("=")[0] not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_ONE_THREAD}".strip()


def wait_for_slow_devices() -> None:
    """Let devices of a CPU, in one process or several, wait for one another for days.

    Lanes are dealt out to devices and gathered at the end, and the slowest may take an hour more
    than the quickest; XLA gives up within a minute, and ends the process.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    missing = [f"{name}={_DAYS}" for name in _PATIENCE if name not in flags]
    os.environ["XLA_FLAGS"] = " ".join([flags, *missing]).strip()


def keep_programs(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Keep compiled programs for later runs, in `sparsejax` in the user's cache folder; where.

    None where it is not for us to say: the user chose a folder (`JAX_COMPILATION_CACHE_DIR`), wants
    none (`JAX_ENABLE_COMPILATION_CACHE=false`), or has no folder that can be written. The folder
    may be removed at any time. A program's key holds versions, XLA's flags and the kind of machine.
    """
    if _setting("jax_compilation_cache_dir") is not None:
        return None
    if not _setting("jax_enable_compilation_cache"):
        return None
    chosen = environment.get("XDG_CACHE_HOME", "")
    try:
        # By the XDG rules a relative path counts as none.
        home = Path(chosen) if Path(chosen).is_absolute() else Path.home() / ".cache"
        folder = home / "sparsejax"
        # Whoever may write into it can have code run: the user alone.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    if not os.access(folder, os.W_OK | os.X_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if _LEAST_SECONDS not in environment:
        # Below, reading is no faster than compiling.
        jax.config.update(_LEAST_SECONDS.lower(), 0.5)
    return folder


def _setting(name: str) -> Any:
    return getattr(jax.config, name)
