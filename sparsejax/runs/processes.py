"""Several processes that share a run: one folder for all, each on its own devices.

Measurements hold no collective operation, so that no process waits for another inside one. What
binds the processes is the folder, which all of them see, and a few numbers that they exchange when
all have the same things before them. They meet only when a look into the folder says that the
others are about to come too: collectives on a CPU give up after a time, and a share of work may
take hours.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

HEARTBEAT_TIMEOUT = 60
"""Seconds without a sign of life after which JAX ends the other processes."""

_PAUSE = 1.0


class AnotherProcessFailed(Exception):
    """Another process of this run failed, and says why in its own output."""


def join_processes(coordinator: str, processes: int, process: int) -> None:
    """Make this process one of several, before JAX starts its backend.

    Waits for all of them. A process that dies later takes the others with it, `HEARTBEAT_TIMEOUT`
    seconds after: JAX ends them.

    Args:
        coordinator: host and port on which process 0 listens, the same for all.
        processes: how many there are.
        process: which of them this is, from 0.

    Raises:
        RuntimeError: when they do not come together.
    """
    jax.distributed.initialize(
        coordinator,
        processes,
        process,
        # Else JAX looks for a cluster to ask, and may find one with another opinion.
        cluster_detection_method="deactivate",
        heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
        shutdown_timeout_seconds=HEARTBEAT_TIMEOUT,
    )


def join_slurm(environment: Mapping[str, str] = os.environ) -> bool:
    """Join the other tasks if this is one of several that one `srun` started; whether it is.

    Under SLURM JAX gives each task one GPU, that of its local number. A batch script itself is no
    such task.
    """
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) < 2:
        return False
    jax.distributed.initialize(
        heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT, shutdown_timeout_seconds=HEARTBEAT_TIMEOUT
    )
    return True


def gathered(values: list[int]) -> np.ndarray:
    """The integers of every process, one row each; the same number of them in all.

    >>> gathered([3, 4]).tolist()
    [[3, 4]]
    """
    row = np.asarray(values, np.int32)[None]
    if jax.process_count() == 1:
        return row
    # `multihost_utils` wants as many devices in each process; hosts of a cluster may differ.
    firsts: dict[int, jax.Device] = {}
    for device in jax.devices():
        firsts.setdefault(device.process_index, device)
    mesh = Mesh(np.array([firsts[process] for process in sorted(firsts)]), ("processes",))
    rows = jax.make_array_from_process_local_data(
        NamedSharding(mesh, PartitionSpec("processes")), row
    )
    alike = jax.jit(lambda table: table, out_shardings=NamedSharding(mesh, PartitionSpec()))
    return np.asarray(alike(rows))


@contextlib.contextmanager
def chatter_to_standard_error() -> Iterator[None]:
    """Keep standard output for the verdict: the library of CPU collectives greets its peers there.

    For several processes alone; by the process's own descriptors, since that library is no Python.
    """
    if jax.process_count() == 1:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextlib.contextmanager
def all_or_none() -> Iterator[None]:
    """What all processes do, and where one fails all do: none waits for one that is gone.

    Raises:
        AnotherProcessFailed: where the block itself did not fail, but that of another process.
    """
    try:
        yield
    except Exception:
        gathered([False])
        raise
    succeeded = gathered([True])[:, 0]
    if not succeeded.all():
        numbers = ", ".join(map(str, np.flatnonzero(succeeded == 0)))
        raise AnotherProcessFailed(f"process {numbers} failed, and says why in its own output")


def wait_until(condition: Callable[[], bool], patience: float | int = float("inf")) -> bool:
    """Look every second, since a disk shared by hosts tells nobody of news; whether it came."""
    until = time.monotonic() + patience
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(_PAUSE)
    return True
