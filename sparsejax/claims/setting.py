"""What most claims share: data, a module, a random lift of it, and the loss that joins them."""

import dataclasses
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax import graphs, lifts, targets
from sparsejax.dynamics import SquaredLoss, squared_loss

LawName = Literal["regular", "binomial"]


@dataclasses.dataclass(frozen=True)
class LiftSetting:
    """Data, architecture and initial law of a claim about random sparse lifts."""

    data: str = "synthetic"
    """What is learned. synthetic: samples of tanh(2 x1 x2) tanh(2 x3 x4) in 8 dimensions; real
    data: diabetes (disease progression), digits (even or odd), iris, wine, breast_cancer, and with
    missing values penguins, cars, lung; or a file, CSV, TSV or Parquet (see target)."""
    target: str | None = None
    """The column that is learned, where data is a file."""
    samples: int | None = None
    """Number of training samples. None: 400, or all that there are where that is fewer."""
    hidden: int = 2
    """Number of hidden layers."""
    activation: str = "tanh"
    """Activation of the hidden vertices."""
    in_degree: int = 6
    """Predecessors of every hidden vertex (exact or expected, see law)."""
    law: LawName = "regular"
    """Random wiring: exactly in-degree predecessors, or each edge on its own."""
    gain: float = 1.5
    """Weights start as N(0, 1) times gain / sqrt(in-degree)."""
    bias_scale: float = 0.5
    """Biases start as N(0, 1) times this."""
    seed: int = 0
    """Seed of everything random; trials use seeds derived from it."""

    def dataset(self, *, single: bool = False) -> targets.Dataset:
        """The training and test samples; `single`: of one output.

        Raises:
            ValueError: as `data_by_name`, or several outputs where one is wanted.
        """
        data = targets.data_by_name(self.data, self.samples, self.seed, self.target)
        if single and data.outputs > 1:
            raise ValueError(
                f"data: {self.data} has {data.outputs} classes, and this claim learns one output: "
                "give a target of two classes, or of numbers"
            )
        return data


@dataclasses.dataclass(frozen=True)
class Problem:
    """One random lift on one data set, ready to train."""

    lift: lifts.Lift
    params: lifts.Params
    x: Float[Array, "n d"]
    y: Float[Array, "n c"]
    x_test: Float[Array, "m d"]
    y_test: Float[Array, "m c"]

    @property
    def loss(self) -> SquaredLoss:
        """The mean squared loss on the training samples."""
        return squared_loss(self.lift.apply, self.x, self.y)

    @property
    def test_loss(self) -> SquaredLoss:
        """The mean squared loss on the test samples."""
        return squared_loss(self.lift.apply, self.x_test, self.y_test)


def check_sizes(sizes: tuple[int, ...], in_degree: int | None) -> None:
    """Refuse sizes that are not positive, or too small for `in_degree` (None: no sparse layer).

    Raises:
        ValueError: says which size is wrong and what would be right.
    """
    for size in sizes:
        if size < 1:
            raise ValueError(f"sizes: a size must be positive, got {size}")
        if in_degree is not None and in_degree > size:
            raise ValueError(
                f"in_degree: {in_degree} is above the {size} predecessors that a layer of "
                f"size {size} has; lower it, or raise the size"
            )


def check_setting(config: LiftSetting, sizes: tuple[int, ...]) -> None:
    """Refuse a setting that cannot be built, before any compute.

    Raises:
        ValueError: says which field is wrong and what would be right.
    """
    if not sizes:
        raise ValueError("sizes: give at least one size")
    check_sizes(sizes, config.in_degree)
    if config.hidden < 1:
        raise ValueError(f"hidden: at least one hidden layer is needed, got {config.hidden}")
    for field in ("samples", "in_degree", "gain"):
        value = getattr(config, field)
        if value is not None and not value > 0:
            raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
    if config.bias_scale < 0:
        raise ValueError(f"bias_scale: must not be negative, got {config.bias_scale}")
    data = config.dataset()
    module = base_module(config, data)
    eqx.filter_eval_shape(  # its own checks run; nothing is drawn
        lifts.random_sparse_lift,
        jax.random.key(0),
        module,
        dict.fromkeys(module.duplicated, sizes[0]),
        sparse_in_degrees(config, data.dims),
        law=config.law,
    )


def base_module(config: LiftSetting, data: targets.Dataset) -> graphs.PerceptronModule:
    """The base graph that all lifts of a setting have in common."""
    return graphs.mlp(
        data.dims, config.hidden, data.outputs, config.activation, input_as="coordinates"
    )


def sparse_in_degrees(config: LiftSetting, dims: int) -> dict[str, int]:
    """The same in-degree everywhere; fewer where the input has fewer coordinates."""
    degrees = {f"h{i}": config.in_degree for i in range(1, config.hidden + 1)}
    return degrees | {"h1": min(config.in_degree, dims)}


@dataclasses.dataclass(frozen=True)
class LiftDraw:
    """How a claim draws a lift and its parameters from a key; readouts start at zero.

    So every flow starts at the loss of the function zero. `in_degrees`: by edge or target vertex;
    None: dense. The spread of a weight is that of its vertex's fan-in, for all kinds alike.
    """

    module: graphs.PerceptronModule
    size: int
    in_degrees: tuple[tuple[str, int], ...] | None
    gain: float
    bias_scale: float
    law: LawName = "regular"

    def __call__(self, key: Array) -> tuple[lifts.Lift, lifts.Params]:
        """The lift of this key."""
        lift_key, weight_key = jax.random.split(key)
        if self.in_degrees is None:
            lift = lifts.dense_lift(self.module, self.size)
        else:
            lift = lifts.random_sparse_lift(
                lift_key, self.module, self.size, dict(self.in_degrees), law=self.law
            )
        return lift, lift.init(
            weight_key, gain=self.gain, bias_scale=self.bias_scale, zero_outputs=True
        )


@eqx.filter_jit
def _drawn(draw: LiftDraw, key: Array) -> tuple[lifts.Lift, lifts.Params]:
    return draw(key)


def problem(config: LiftSetting, size: int, number: int) -> Problem:
    """The `number`-th random lift of a size, with the data of the setting.

    Lifts are drawn inside `jit`, where padding depends on the size alone: all lifts of a size run
    through one compiled program.
    """
    data = config.dataset()
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), size), number)
    degrees = tuple(sparse_in_degrees(config, data.dims).items())
    module = base_module(config, data)
    draw = LiftDraw(module, size, degrees, config.gain, config.bias_scale, config.law)
    lift, params = _drawn(draw, key)
    arrays = (data.x_train, data.y_train, data.x_test, data.y_test)
    return Problem(lift, params, *(jnp.asarray(array, float) for array in arrays))


def mean_field(f: lifts.NtkParametrised) -> lifts.NtkParametrised:
    """The same network with its readout over the size, where it was over the root of the size.

    The output bias goes with it: kernel and gradients become smaller by the size in all their
    parts, so that a flow that runs as many times longer starts as the old one does.
    """
    module = f.lift.module
    into = [edge for edge in module.edges if edge.target in module.outputs]
    size = max(f.lift.sizes[edge.source] for edge in into)
    down = {edge.name: size**-0.5 for edge in into}
    return lifts.NtkParametrised(
        f.lift, {name: down.get(name, 1.0) * scale for name, scale in f.scales.items()}
    )
