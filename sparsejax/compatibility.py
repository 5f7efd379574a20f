"""The one release of JAX on which no number here can be trusted, refused by name."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

MISCOMPILING_RELEASE = "0.10.2"
"""Its CPU compiler returns wrong sums for vmapped matrix-vector products (jax issue 39103)."""


def refuse_miscompiling_jax() -> None:
    """Raise on JAX or jaxlib 0.10.2, which silently computes wrong numbers on CPU.

    Reads the installed versions without importing JAX.

    Raises:
        ImportError: naming the release and the command that replaces it.

    >>> refuse_miscompiling_jax()
    """
    for package in ("jax", "jaxlib"):
        try:
            installed = version(package)
        except PackageNotFoundError:
            continue
        if installed == MISCOMPILING_RELEASE:
            raise ImportError(
                f"{package} {installed} silently miscompiles sums of vmapped matrix-vector "
                "products on CPU (https://github.com/jax-ml/jax/issues/39103): install another "
                f'release, e.g. pip install "jax!={MISCOMPILING_RELEASE}" '
                f'"jaxlib!={MISCOMPILING_RELEASE}"'
            )
