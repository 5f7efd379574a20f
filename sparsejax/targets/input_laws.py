"""Laws of the inputs: the cube's vertices, the standard Gaussian, the uniform law on a cube."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LAWS = ("cube", "gaussian", "uniform")
# Coordinates that one random word gives.
_WORD = 32


def sample_inputs(
    law: str, key: Array, n: int, dims: int, dtype: type | jnp.dtype = float
) -> Float[Array, "n dims"]:
    """`n` independent inputs of `dims` independent coordinates.

    `"cube"`: uniform on `{-1, 1}^dims`; `"gaussian"`: standard normal; `"uniform"`: uniform on
    `[-1, 1]^dims`. Pure; `law`, `n`, `dims` and `dtype` are static. Signs are drawn 32 a random
    word, so that a step of training is not dominated by its random numbers.

    Raises:
        ValueError: an unknown law, or counts that are not positive.

    Example:
        >>> import jax
        >>> x = sample_inputs("cube", jax.random.key(0), 4, 50)
        >>> x.shape, sorted(set(x.ravel().tolist()))
        ((4, 50), [-1.0, 1.0])
    """
    check_law(law)
    if n < 1 or dims < 1:
        raise ValueError(f"inputs need positive n and dims, got n={n}, dims={dims}")
    if law == "gaussian":
        return jax.random.normal(key, (n, dims), dtype)
    if law == "uniform":
        return jax.random.uniform(key, (n, dims), dtype, minval=-1.0, maxval=1.0)
    words = jax.random.bits(key, (-(-n * dims // _WORD), 1), jnp.uint32)
    bits = (words >> jnp.arange(_WORD, dtype=jnp.uint32)[None, :]) & jnp.uint32(1)
    signs = bits.reshape(-1)[: n * dims].reshape(n, dims).astype(dtype)
    return 2 * signs - 1


def check_law(law: str) -> None:
    """Refuse what is no law of inputs.

    Raises:
        ValueError: an unknown law.
    """
    if law not in LAWS:
        raise ValueError(f"law: {law!r} is none of {', '.join(LAWS)}")
