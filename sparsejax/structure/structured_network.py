"""Small networks with a constituent for each group of inputs, fitted by damped Gauss-Newton."""

import dataclasses

import numpy as np
import scipy.linalg
from jaxtyping import Float

Grouping = tuple[tuple[int, ...], ...]

# Units of the root, of a constituent of one input, and more for each further one up to three.
_ROOT_UNITS, _FIRST_UNITS, _MORE_UNITS = 12, 4, 4
# Squared parameters weigh as much: the variance of the noise over that of a parameter.
_PENALTY = 0.02
_FIRST_DAMPING, _MOST_TRIES = 0.1, 8
# A step that gains less than this share is a small one, and three such in a row are the end.
_LEAST_GAIN, _SMALL_STEPS = 3e-3, 3


class _Layer:
    """`a . tanh(w x + b) + c . x` of `x` `(k, n)`, and its derivatives."""

    def __init__(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray, a: np.ndarray, c: np.ndarray
    ) -> None:
        self.x, self.w, self.a, self.c = x, w.reshape(len(b), len(x)), a, c
        self.bent = np.tanh(self.w @ x + b[:, None])
        self.outputs = a @ self.bent + c @ x

    def by_inputs(self) -> Float[np.ndarray, "k n"]:
        return self.w.T @ ((1 - self.bent**2) * self.a[:, None]) + self.c[:, None]

    def second_by_inputs(self) -> Float[np.ndarray, "k k n"]:
        curved = -2 * self.a[:, None] * self.bent * (1 - self.bent**2)
        return np.einsum("mi,mj,mn->ijn", self.w, self.w, curved)

    def by_parameters(self, upstream: Float[np.ndarray, " n"]) -> list[np.ndarray]:
        slopes = (1 - self.bent**2) * (self.a[:, None] * upstream)
        weights = (slopes[:, None] * self.x[None]).reshape(-1, len(upstream))
        return [weights, slopes, self.bent * upstream, self.x * upstream]


@dataclasses.dataclass(frozen=True)
class StructuredNetwork:
    """`y = g(h_1(x of group 1), h_2(x of group 2), ...)`, `g` and the `h` of one layer of tanh.

    Each has a linear part besides. Groups hold rows of `x` `(d, n)`, from 0. Parameters are one
    vector `(p,)`. On the host: a fit takes less time than a program takes to compile.

    Example:
        >>> network = StructuredNetwork(((0, 1), (2,)))
        >>> params = network.start(np.random.default_rng(0))
        >>> params.shape, network.outputs(params, np.ones((3, 5))).shape
        ((98,), (5,))
    """

    groups: Grouping

    @property
    def _sizes(self) -> list[tuple[int, int]]:
        """Inputs and units of each constituent, and last of the root."""
        inner = [(len(g), _FIRST_UNITS + _MORE_UNITS * min(len(g) - 1, 3)) for g in self.groups]
        return [*inner, (len(self.groups), _ROOT_UNITS)]

    def start(self, rng: np.random.Generator) -> Float[np.ndarray, " p"]:
        """A draw: constituents that bend on inputs of variance one, and a root near zero."""
        drawn = []
        for place, (inputs, units) in enumerate(self._sizes):
            root = place == len(self.groups)
            drawn += [
                (1.0 if root else 1.5) / np.sqrt(inputs) * rng.normal(size=units * inputs),
                0.7 * rng.normal(size=units),
                (0.1 if root else 1 / np.sqrt(units)) * rng.normal(size=units),
                (0.0 if root else 0.7) * rng.normal(size=inputs),
            ]
        return np.concatenate([*drawn, np.zeros(1)])

    def outputs(
        self, params: Float[np.ndarray, " p"], x: Float[np.ndarray, "d n"]
    ) -> Float[np.ndarray, " n"]:
        """The network's function."""
        return self._layers(params, x)[-1].outputs + params[-1]

    def root_derivatives(
        self, params: Float[np.ndarray, " p"], x: Float[np.ndarray, "d n"]
    ) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k k"]]:
        """First and second derivatives of the root by the values of the constituents."""
        root = self._layers(params, x)[-1]
        return root.by_inputs().T, np.moveaxis(root.second_by_inputs(), -1, 0)

    def with_jacobian(
        self, params: Float[np.ndarray, " p"], x: Float[np.ndarray, "d n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "p n"]]:
        """The same, and its derivatives by the parameters."""
        *inner, root = self._layers(params, x)
        one = np.ones_like(root.outputs)
        rows = []
        for layer, upstream in zip(inner, root.by_inputs(), strict=True):
            rows += layer.by_parameters(upstream)
        jacobian = np.concatenate([*rows, *root.by_parameters(one), one[None]])
        return root.outputs + params[-1], jacobian

    def _layers(self, params: np.ndarray, x: np.ndarray) -> list[_Layer]:
        ends = np.cumsum([n for k, m in self._sizes for n in (m * k, m, m, k)])
        arrays = np.split(params, ends)
        layers = [
            _Layer(x[list(group)], *arrays[4 * place : 4 * place + 4])
            for place, group in enumerate(self.groups)
        ]
        hidden = np.stack([layer.outputs for layer in layers])
        return [*layers, _Layer(hidden, *arrays[-5:-1])]


def fit(
    network: StructuredNetwork,
    params: Float[np.ndarray, " p"],
    x: Float[np.ndarray, "d n"],
    y: Float[np.ndarray, " n"],
    steps: int = 60,
) -> tuple[Float[np.ndarray, " p"], float]:
    """Parameters after at most `steps` Levenberg-Marquardt steps, and what they leave.

    That is the sum of squared residuals and of squared parameters, by a small weight. It never
    rises. Normal equations: with a hundred parameters a step is one matrix product, where
    MINPACK's factorisation of the Jacobian took eight times longer.

    Source: Marquardt, J. SIAM 1963.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(2, 200))
        >>> network = StructuredNetwork(((0,), (1,)))
        >>> start = network.start(np.random.default_rng(0))
        >>> _, left = fit(network, start, x, np.tanh(x[0] + x[1]))
        >>> left < 1.0
        True
    """

    def left(params: np.ndarray, outputs: np.ndarray) -> float:
        return float(((y - outputs) ** 2).sum() + _PENALTY * (params @ params))

    damping, small = _FIRST_DAMPING, 0
    outputs, jacobian = network.with_jacobian(params, x)
    now = left(params, outputs)
    for _ in range(steps):
        gram = jacobian @ jacobian.T
        ascent = jacobian @ (y - outputs) - _PENALTY * params
        diagonal = np.diag(gram).copy()
        for _ in range(_MOST_TRIES):
            damped = gram + np.diag(_PENALTY + damping * (diagonal + _FIRST_DAMPING))
            tried = params + scipy.linalg.solve(damped, ascent, assume_a="pos")
            then = left(tried, network.outputs(tried, x))
            if then < now:
                break
            damping *= 4
        else:
            break
        small = small + 1 if now - then < _LEAST_GAIN * now else 0
        params, now, damping = tried, then, max(damping / 3, 1e-8)
        if small == _SMALL_STEPS:
            break
        outputs, jacobian = network.with_jacobian(params, x)
    return params, now
