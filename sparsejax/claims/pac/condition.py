"""What is lifted to learn what: a target and an architecture, checked before any compute."""

import dataclasses
import math
from typing import Literal, get_args

import equinox as eqx
import jax

from sparsejax import graphs, lifts
from sparsejax.claims.pac.pac_data import PacData, pac_data, table_pac_data

TargetName = Literal["tree", "parity", "digits", "diabetes", "breast_cancer", "cars", "lung"]
# What a condition is called whose data are the user's own.
TABLE: Literal["table"] = "table"
ArchitectureName = Literal["mlp", "convnet", "transformer"]
TARGETS: tuple[TargetName, ...] = ("tree", "parity", "digits")
ARCHITECTURES: tuple[ArchitectureName, ...] = ("mlp", "convnet", "transformer")
FEATURES = 2


@dataclasses.dataclass(frozen=True)
class PacSetting:
    """Targets, architectures and initial law of a claim about ensembles of random sparse lifts."""

    targets: tuple[TargetName, ...] = TARGETS
    """What is learned. tree: tanh(2 x1 x2) tanh(2 x3 x4), inputs uniform; parity: a product of
    coordinates, on the cube; real data: digits (even or odd), diabetes (disease progression),
    breast_cancer, and with missing values cars and lung."""
    data: str | None = None
    """A file, CSV, TSV or Parquet, that is learned in place of the targets (see target)."""
    target: str | None = None
    """The column of that file that is learned: numbers, or two classes."""
    architectures: tuple[ArchitectureName, ...] = ARCHITECTURES
    """What is lifted: perceptrons of two hidden layers, convolutions over the coordinates (or
    pixels), a block of attention over tokens of coordinates (or rows of pixels)."""
    mlp_sizes: tuple[int, ...] = (4, 12, 32)
    """Vertices per hidden layer of the perceptrons, one ladder step each."""
    convnet_sizes: tuple[int, ...] = (4, 16)
    """Channels per hidden layer of the convolutional lifts."""
    transformer_sizes: tuple[int, ...] = (2, 8)
    """Streams, heads and perceptrons of the attention lifts."""
    mlp_in_degree: int = 4
    """Predecessors of every vertex of the perceptrons, in each layer; of inputs at most all."""
    convnet_in_degree: int = 3
    """Channels that every channel of a convolutional lift reads."""
    transformer_in_degree: int = 2
    """Predecessors of every stream, head and perceptron of an attention lift, over each edge."""
    tree_dims: int = 4
    """Input coordinates of the tree, of which four matter."""
    cube_dims: int = 8
    """Input coordinates of the parity."""
    parity_order: int = 4
    """Coordinates whose product the parity is: the more, the harder to find."""
    population: bool = True
    """Train tree and parity on the population loss, by cubature, and not on samples."""
    points: int = 1024
    """Nodes of the cubature rule for the tree, the power of two at or below it; a parity is trained
    on all vertices of the cube."""
    samples: int = 100
    """Training samples of real data, of a file, and of all targets without population."""
    gain: float = 1.5
    """Weights start as N(0, 1) times gain / sqrt(in-degree x fan-in)."""
    bias_scale: float = 0.5
    """Biases start as N(0, 1) times this."""
    seed: int = 0
    """Seed of everything random; trials use seeds derived from it."""

    def sizes(self, architecture: str) -> tuple[int, ...]:
        """The ladder of an architecture, small sizes first."""
        return tuple(sorted(getattr(self, f"{architecture}_sizes")))

    def in_degree(self, architecture: str) -> int:
        """The in-degree of lifts of an architecture."""
        return getattr(self, f"{architecture}_in_degree")

    @property
    def learned(self) -> tuple[TargetName | Literal["table"], ...]:
        """The targets, or the one table that takes their place."""
        return self.targets if self.data is None else (TABLE,)

    def learning_data(self, target: str) -> PacData:
        """The data of one of the targets, or of the table."""
        if target == TABLE and self.data is not None:
            return table_pac_data(self.data, self.target, self.samples, self.seed)
        dims = self.cube_dims if target == "parity" else self.tree_dims
        rest = self.population, self.points, self.samples, self.seed
        return pac_data(target, dims, self.parity_order, *rest)


@dataclasses.dataclass(frozen=True)
class Condition:
    """One target learned by lifts of one architecture."""

    target: TargetName | Literal["table"]
    architecture: ArchitectureName

    @property
    def name(self) -> str:
        """As in tables and in trials' names."""
        return f"{self.target}-{self.architecture}"


def conditions(setting: PacSetting) -> list[Condition]:
    """All targets by all architectures, target by target."""
    return [Condition(t, a) for t in setting.learned for a in setting.architectures]


def architecture(name: str, dims: int) -> graphs.PerceptronModule:
    """The base graph for inputs of `dims` coordinates and one output.

    Perceptrons read coordinates; convolutions read an image, square where `dims` is the square of
    eight or more; attention reads as many tokens, of equal numbers of coordinates.

    Example:
        >>> architecture("transformer", 64).vertex("x").shape
        (8, 8)
    """
    if name == "mlp":
        return graphs.mlp(dims, 2, 1, "tanh", input_as="coordinates")
    shape = input_shape(name, dims)
    if name == "convnet":
        return graphs.convnet(shape, 2, 1, "tanh", readout="dense")
    tokens, inputs = shape
    return graphs.mixing_transformer(tokens, FEATURES, 1, 1, "tanh", inputs=inputs, readout="dense")


def input_shape(name: str, dims: int) -> tuple[int, ...]:
    """The shape of one input, as the architecture reads it."""
    side = math.isqrt(dims)
    square = side * side == dims and side >= 8
    if name == "mlp":
        return (dims,)
    if name == "convnet":
        return (side, side) if square else (dims,)
    tokens = side if square else max(n for n in range(1, side + 2) if dims % n == 0)
    return (tokens, dims // tokens)


def in_degrees(module: graphs.PerceptronModule, in_degree: int) -> dict[str, int]:
    """The in-degree of every edge between several vertices; of inputs at most all there are."""
    return {
        edge.name: min(in_degree, module.clamped(edge.source) or in_degree)
        for edge in module.edges
        if (module.clamped(edge.source) or 1) > 1 or edge.source in module.duplicated
        if edge.target in module.duplicated
    }


def check_pac_setting(setting: PacSetting) -> None:
    """Refuse a setting that cannot be built, before any compute.

    Raises:
        ValueError: says which field is wrong and what would be right.
    """
    if setting.data is None and setting.target is not None:
        raise ValueError(f"target: {setting.target!r} is a column of a file; name that with data")
    for field, names in (("targets", get_args(TargetName)), ("architectures", ARCHITECTURES)):
        values = getattr(setting, field)
        for name in values:
            if name not in names:
                raise ValueError(f"{field}: no {name!r}; there are {', '.join(names)}")
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{field}: name at least one, and none twice; got {list(values)}")
    for name in setting.architectures:
        sizes, in_degree = setting.sizes(name), setting.in_degree(name)
        if not sizes or min(sizes) < 1 or len(set(sizes)) < len(sizes):
            raise ValueError(f"{name}_sizes: give positive sizes, none twice; got {list(sizes)}")
        if not 1 <= in_degree <= min(sizes):
            raise ValueError(
                f"{name}_in_degree: {in_degree} of the predecessors in a layer of size "
                f"{min(sizes)}; give 1 to {min(sizes)}, or larger {name}_sizes"
            )
    for field in ("points", "samples", "gain"):
        if not 0 < getattr(setting, field) < math.inf:
            raise ValueError(f"{field}: must be positive, got {getattr(setting, field)}")
    if setting.seed < 0:
        raise ValueError(f"seed: must not be negative, got {setting.seed}")
    if not 0 <= setting.bias_scale < math.inf:
        raise ValueError(f"bias_scale: must not be negative, got {setting.bias_scale}")
    if not 1 <= setting.parity_order <= setting.cube_dims:
        raise ValueError(
            f"parity_order: 1 to cube_dims = {setting.cube_dims} coordinates, "
            f"got {setting.parity_order}"
        )
    for field in ("tree_dims", "cube_dims"):
        if not 4 <= getattr(setting, field) <= 12:
            raise ValueError(f"{field}: 4 to 12 coordinates, got {getattr(setting, field)}")
    for condition in conditions(setting):
        module = architecture(condition.architecture, setting.learning_data(condition.target).dims)
        for size in setting.sizes(condition.architecture):
            eqx.filter_eval_shape(  # its own checks run; nothing is drawn
                lifts.random_sparse_lift,
                jax.random.key(0),
                module,
                dict.fromkeys(module.duplicated, size),
                in_degrees(module, setting.in_degree(condition.architecture)),
                law="regular",
            )
