"""What the sparse product is compared with: BCOO, gather + einsum, masked dense, torch's CSR."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse

from sparsejax.lifts import sparse_product
from sparsejax.lifts.sampling import sample_regular
from sparsejax.lifts.sparse_product import spread


def problem(n: int, in_degree: int, batch: int, dtype=jnp.float32):
    """A regular wiring of `n` to `n`, weights, values and a cotangent."""
    wiring = sample_regular(jax.random.key(0), n, n, in_degree)
    random = np.random.default_rng(0)
    weights = jnp.asarray(random.normal(size=(in_degree, n)) / np.sqrt(in_degree), dtype)
    y, cotangent = (jnp.asarray(random.normal(size=(n, batch)), dtype) for _ in range(2))
    return wiring, weights, y, cotangent


def slots(weights, y, wiring):
    return sparse_product(weights, y, wiring)


def gather_einsum(weights, y, wiring):
    """All edges' values at once; its derivative gathers too, through the transposed wiring."""
    return jnp.einsum("sv,svb->vb", weights, spread(y, wiring))


def bcoo(values, y, indices):
    """`values` and `indices` in row order, prepared before: no conversion is timed."""
    shape = (y.shape[0], y.shape[0])
    matrix = sparse.BCOO((values, indices), shape=shape, indices_sorted=True, unique_indices=True)
    return matrix @ y


def masked_dense(matrix, y, mask):
    """A full matrix of weights, times the mask of the edges that exist."""
    return (matrix * mask) @ y


def bcoo_arguments(wiring, weights):
    targets = np.repeat(np.arange(wiring.n_targets), wiring.slots)
    indices = np.stack([targets, np.asarray(wiring.predecessors).T.ravel()], axis=1)
    return jnp.asarray(np.asarray(weights).T.ravel()), jnp.asarray(indices, jnp.int32)


def dense_arguments(wiring, weights):
    matrix = np.zeros((wiring.n_targets, wiring.n_sources), weights.dtype)
    matrix[np.arange(wiring.n_targets)[None], np.asarray(wiring.predecessors)] = weights
    return jnp.asarray(matrix), jnp.asarray(matrix != 0, weights.dtype)


def value_and_gradients(product):
    """`(z, weight gradient, y gradient)` at a cotangent, jitted."""

    def f(weights, y, cotangent, wiring):
        z, pullback = jax.vjp(lambda w, y: product(w, y, wiring), weights, y)
        return z, *pullback(cotangent)

    return jax.jit(f)


def torch_csr(wiring, weights, y, cotangent, threads: int):
    """Calls for forward and for value and gradients in torch (MKL), or None without torch.

    The transposed pattern is prepared before; the weights' order in it is computed each time, as
    training must. The weight gradient is the faster of gathers and `sampled_addmm`.
    """
    try:
        import torch
    except ImportError:
        return None
    import warnings

    warnings.filterwarnings("ignore", message=".*[Ss]parse.*")
    torch.set_num_threads(threads)
    k, n = wiring.predecessors.shape
    columns = np.asarray(wiring.predecessors).T.ravel()
    order = np.argsort(columns, kind="stable")
    starts = np.arange(0, k * n + 1, k)
    transposed_starts = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=n))])

    def index(x):
        return torch.from_numpy(np.ascontiguousarray(x, dtype=np.int32))

    rows_t, columns_t = index(transposed_starts), index(order // k)
    order_t, rows, cols = torch.from_numpy(order), index(starts), index(columns)
    values = torch.from_numpy(np.array(weights).T.ravel().copy())
    y_t, g_t = (torch.from_numpy(np.array(x)) for x in (y, cotangent))
    matrix = torch.sparse_csr_tensor(rows, cols, values, (n, n))
    targets = torch.from_numpy(np.repeat(np.arange(n), k))
    sources = torch.from_numpy(columns.astype(np.int64))

    def forward():
        torch.mm(matrix, y_t)

    def both(weight_gradient):
        torch.mm(matrix, y_t)
        transposed = torch.sparse_csr_tensor(rows_t, columns_t, values[order_t], (n, n))
        torch.mm(transposed, g_t)
        weight_gradient()

    def sampled():
        torch.sparse.sampled_addmm(matrix, g_t, y_t.T, beta=0.0)

    def gathered():
        torch.einsum("eb,eb->e", y_t[sources], g_t[targets])

    return {
        "forward": forward,
        "gradients, sampled": lambda: both(sampled),
        "gradients, gathered": lambda: both(gathered),
    }
