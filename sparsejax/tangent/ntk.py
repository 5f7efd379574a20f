"""The empirical neural tangent kernel of any `f(params, x)`."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from sparsejax.tangent.gram import gram
from sparsejax.tangent.jacobian import (
    Function,
    grouped_jacobian,
    jacobian_slice,
    outputs_of,
    sample_count,
)
from sparsejax.tangent.layerwise import edge_kernel, factors_of, layers_of
from sparsejax.tangent.ntk_method import costs, output_groups
from sparsejax.tangent.output_axes import Grouping, Outputs, checked_outputs, mirrored
from sparsejax.tangent.sample_blocks import diagonal_of_blocks, kernel_of_blocks


def ntk(
    f: Function,
    params: PyTree,
    x: PyTree,
    x2: PyTree | None = None,
    *,
    outputs: Outputs = "traced",
    chunk: int | None = None,
    parameter_chunk: int | None = None,
    method: str | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Float[Array, "n m ..."]:
    """`K = J J^T` between the samples of `x` and those of `x2` (default: `x` itself).

    `outputs="traced"` sums over outputs, `K[n, m] = sum_c <J[n, c], J[m, c]>`, shape `(n, m)`;
    `"full"` keeps them, `K[n, m, c, d]`; `"diagonal"` keeps equal ones, `K[n, m, c]`;
    `OutputAxes` says axis by axis. No division by the number of samples or outputs: the kernel of
    the mean squared loss is `K / n`. Without `x2` the kernel is symmetric to the last bit, and what
    lies below the diagonal is not computed (over a mesh it is, and symmetry holds to rounding).

    Memory: `chunk` bounds it to two blocks of that many samples, whose Jacobians are computed again
    for every pair of blocks; `parameter_chunk` to the derivatives in that many parameters, at one
    more pass over the samples each. Both can be given. `method` overrules `ntk_method`:
    `"jacobian"` for any `f`, `"layerwise"` for the `apply` of a lift. `mesh` shares the rows out
    over the devices along its first axis.

    Raises:
        ValueError: an unknown `outputs` or `method`, a chunk that is not positive, no samples, or
            `method="layerwise"` for what is not the `apply` of a lift.

    Source: Jacot, Gabriel, Hongler 2018. The layer-wise form is derived in this project; the
    structured derivatives of Novak, Sohl-Dickstein, Schoenholz 2022 are its dense relative.

    Example:
        >>> import jax.numpy as jnp
        >>> ntk(lambda w, x: x @ w, jnp.ones((2, 1)), jnp.array([[3.0, 4.0], [1.0, 0.0]])).tolist()
        [[25.0, 3.0], [3.0, 1.0]]
    """
    params, x, x2 = _checked(f, params, x, x2, outputs, method, (chunk, parameter_chunk))
    if mesh is not None:
        return _sharded(f, params, x, x2, outputs, chunk, parameter_chunk, method, mesh)
    return _kernels(f, params, x, x2, outputs, chunk, parameter_chunk, method, False)


def ntk_by_leaf(
    f: Function,
    params: PyTree,
    x: PyTree,
    x2: PyTree | None = None,
    *,
    outputs: Outputs = "traced",
    chunk: int | None = None,
    method: str | None = None,
) -> PyTree[Float[Array, "n m ..."]]:
    """The part of every leaf of `params` in the kernel; the parts add up to `ntk`.

    A pytree like `params`: for a lift, one kernel an edge of the base graph. `sum_by_group` sums
    them up by layer.

    Raises:
        ValueError: as `ntk`.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda p, x: x @ p["w"] + p["b"]
        >>> parts = ntk_by_leaf(f, {"w": jnp.ones(2), "b": 0.0}, jnp.array([[3.0, 4.0]]))
        >>> {name: float(part[0, 0]) for name, part in parts.items()}
        {'b': 1.0, 'w': 25.0}
    """
    params, x, x2 = _checked(f, params, x, x2, outputs, method, (chunk,))
    return _kernels(f, params, x, x2, outputs, chunk, None, method, True)


def ntk_diagonal(
    f: Function,
    params: PyTree,
    x: PyTree,
    *,
    outputs: Outputs = "traced",
    chunk: int | None = None,
    method: str | None = None,
) -> Float[Array, "n ..."]:
    """The kernel of every sample with itself: `K[n]`, or `K[n, c, d]` with `outputs="full"`.

    `J_n J_n^T` for one sample after the other, `chunk` of them at a time.

    Raises:
        ValueError: as `ntk`.

    Example:
        >>> import jax.numpy as jnp
        >>> ntk_diagonal(lambda w, x: x @ w, jnp.ones(2), jnp.array([[3.0, 4.0]])).tolist()
        [25.0]
    """
    params, x, _ = _checked(f, params, x, None, outputs, method, (chunk,))
    return _diagonal(f, params, x, outputs, chunk, method)


def _checked(f, params, x, x2, outputs, method, chunks):
    checked_outputs(outputs)
    for chunk in chunks:
        if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
            raise ValueError(f"chunk must be a positive whole number, got {chunk!r}")
    if method not in (None, "jacobian", "layerwise"):
        raise ValueError(f"method is 'jacobian', 'layerwise' or None, not {method!r}")
    if method == "layerwise" and layers_of(f) is None:
        raise ValueError(
            "method='layerwise' reads the wiring of a lift: pass lift.apply itself as f"
        )
    params, x, x2 = jax.tree.map(jnp.asarray, (params, x, x2))
    for points in (x,) if x2 is None else (x, x2):
        outputs_of(f, params, points)
    return params, x, x2


@eqx.filter_jit
def _kernels(f, params, x, x2, outputs, chunk, parameter_chunk, method, by_leaf):
    groups = output_groups(f, params, x, outputs)
    if (method or costs(f, params, x, x2, groups).method) == "layerwise":
        features, contract = _layerwise(f, params, groups, by_leaf, True, parameter_chunk)
        kernel = kernel_of_blocks(features, contract, x, x2, chunk)
    elif parameter_chunk is None:
        features, contract = _by_jacobian(f, params, groups, by_leaf, True)
        kernel = kernel_of_blocks(features, contract, x, x2, chunk)
    else:
        kernel = _parameters_in_turn(f, params, x, x2, groups, chunk, parameter_chunk)
    symmetric = x2 is None
    return jax.tree.map(lambda k: groups.arranged(mirrored(k) if symmetric else k), kernel)


@eqx.filter_jit
def _diagonal(f, params, x, outputs, chunk, method):
    groups = output_groups(f, params, x, outputs)
    if (method or costs(f, params, x, None, groups, pairs=False).method) == "layerwise":
        features, contract = _layerwise(f, params, groups, False, False, None)
    else:
        features, contract = _by_jacobian(f, params, groups, False, False)
    return groups.arranged(diagonal_of_blocks(features, contract, x, chunk))


def _layerwise(f, params, groups: Grouping, by_leaf, pairs, weights):
    layers = layers_of(f)
    assert layers is not None  # method="layerwise" was refused for anything else

    def features(block):
        return factors_of(layers, params, block, groups)

    def contract(left, right):
        kernels = {
            name: edge_kernel(
                left[name], None if right is None else right[name], pairs=pairs, weights=weights
            )
            for name in left
        }
        return kernels if by_leaf else sum(kernels.values())

    return features, contract


def _by_jacobian(f, params, groups: Grouping, by_leaf, pairs):
    def features(block):
        return grouped_jacobian(f, params, block, groups.grouped)

    def contract(left, right):
        kernels = jax.tree.map(
            lambda a, b=None: gram(a, b, layout="ndtfr", pairs=pairs),
            *((left,) if right is None else (left, right)),
        )
        return kernels if by_leaf else sum(jax.tree.leaves(kernels))

    return features, contract


def _parameters_in_turn(f, params, x, x2, groups, chunk, parameter_chunk):
    """The sum over slices of the raveled parameters, one slice in memory at a time."""
    total = ravel_pytree(params)[0].shape[0]
    size = min(parameter_chunk, total)

    def of_slice(start):
        def features(block):
            return jacobian_slice(f, params, block, groups.grouped, start, size)

        def contract(left, right):
            return gram(left, right, layout="ndtfr")

        return kernel_of_blocks(features, contract, x, x2, chunk)

    starts = jnp.arange(0, total, size)
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(of_slice, starts[0]))
    return jax.lax.scan(lambda k, start: (k + of_slice(start), None), zero, starts)[0]


@eqx.filter_jit
def _sharded(f, params, x, x2, outputs, chunk, parameter_chunk, method, mesh):
    """Rows shared out over the mesh's first axis; the last device's are filled up."""
    # Rows are handed out here, whether or not the mesh has shardings in types.
    automatic = (jax.sharding.AxisType.Auto,) * len(mesh.axis_names)
    mesh = jax.sharding.Mesh(mesh.devices, mesh.axis_names, axis_types=automatic)
    n, devices = sample_count(x), mesh.shape[mesh.axis_names[0]]
    missing = -n % devices
    rows = jax.tree.map(
        lambda leaf: jnp.concatenate([leaf, jnp.repeat(leaf[:1], missing, axis=0)]), x
    )
    spec, everywhere = jax.sharding.PartitionSpec(mesh.axis_names[0]), jax.sharding.PartitionSpec()
    # Arrays inside `f` (a lift's wirings) are arguments, not constants of the program.
    arrays, static = eqx.partition(f, eqx.is_array)

    def of_rows(arrays, params, rows, columns):
        return _kernels(
            eqx.combine(arrays, static),
            params,
            rows,
            columns,
            outputs,
            chunk,
            parameter_chunk,
            method,
            False,
        )

    shared = jax.shard_map(
        of_rows,
        mesh=mesh,
        in_specs=(everywhere, everywhere, spec, everywhere),
        out_specs=spec,
        check_vma=False,
    )
    return shared(arrays, params, rows, x if x2 is None else x2)[:n]
