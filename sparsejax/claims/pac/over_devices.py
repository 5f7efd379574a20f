"""A function of one lift, for all lifts of an ensemble, dealt out to the local devices."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import PyTree


def over_devices(
    function: Callable[..., PyTree],
    lanes: tuple,
    shared: tuple = (),
    *,
    one_by_one: bool = False,
) -> PyTree:
    """`function(*lane, *shared)` for every lane: equal parts go to the local devices, side by side.

    `lanes`: pytrees with one leading axis. Inside of a jitted function. `one_by_one`: those of a
    device one after another, not in one batch. Where lanes do not come out
    even the last one is repeated, and its copies are dropped.

    Example:
        >>> import jax.numpy as jnp
        >>> over_devices(lambda a, b: a + b, (jnp.arange(3),), (jnp.asarray(10),)).tolist()
        [10, 11, 12]
    """

    def part(lanes: tuple, shared: tuple) -> PyTree:
        def one(lane: tuple) -> PyTree:
            return function(*lane, *shared)

        return jax.lax.map(one, lanes) if one_by_one else jax.vmap(one)(lanes)

    devices = jax.local_devices()
    count = jax.tree.leaves(lanes)[0].shape[0]
    each = -(-count // len(devices))
    if len(devices) == 1:
        return part(lanes, shared)
    which = np.minimum(np.arange(each * len(devices)), count - 1)
    mesh = Mesh(np.asarray(devices), ("lanes",))
    split, everywhere = PartitionSpec("lanes"), PartitionSpec()
    run: Any = jax.shard_map(
        part, mesh=mesh, in_specs=(split, everywhere), out_specs=split, check_vma=False
    )
    found = run(jax.tree.map(lambda leaf: leaf[which], lanes), shared)
    return jax.tree.map(lambda leaf: leaf[:count], found)
