"""The random hierarchy model as a target: sentences of a drawn language, and their labels."""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from sparsejax.graphs import Dag
from sparsejax.targets.hierarchy_rules import (
    BLANK,
    Derivation,
    HierarchyRules,
    HierarchySizes,
    draw_rules,
)
from sparsejax.targets.target import check_inputs

# All sentences are listed up to so many.
MOST_SENTENCES = 2**18


@dataclasses.dataclass(frozen=True)
class RandomHierarchy(HierarchySizes):
    """Sentences of one random language as inputs, their labels (class numbers) as outputs.

    `seed` draws the rules. A sample has `dims = positions * v` coordinates: position by position,
    the one-hot code of its symbol, so that `x.reshape(n, positions, v)` is an image with channels.
    A blank is all zeros. `whitened` codes have mean zero and variance one in every coordinate of a
    symbol that is uniform: `(one-hot - 1/v) v / sqrt(v - 1)`.

    Every latent symbol is a node of the DAG: `s1_3` is the third of level 1, `s{L}_1` the label.
    Nodes of level 1 read the coordinates of their tuple, `s v` of them without blanks: that is the
    arity. Static and hashable; `rules` are drawn once.

    Raises:
        ValueError: as `HierarchySizes`.

    Source: Cagnetta et al., Phys. Rev. X 2024 (arXiv 2307.02129).

    Example:
        >>> import jax
        >>> target = RandomHierarchy(symbols=4, synonyms=2, levels=2)
        >>> x, y = target.sample(jax.random.key(0), 6)
        >>> x.shape, y.shape, bool((target(x) == y).all())
        ((6, 16), (6, 1), True)
    """

    seed: int = 0
    whitened: bool = False
    law = "hierarchy"

    @functools.cached_property
    def rules(self) -> HierarchyRules:
        """The rules of this language, arrays of the host."""
        # It may be asked for first inside a trace, whose arrays must not be kept.
        with jax.ensure_compile_time_eval():
            drawn = draw_rules(jax.random.key(self.seed), self.sizes)
        return jax.tree.map(np.asarray, drawn)

    @property
    def sizes(self) -> HierarchySizes:
        """The numbers alone, without what is drawn."""
        names = [field.name for field in dataclasses.fields(HierarchySizes)]
        return HierarchySizes(**{name: getattr(self, name) for name in names})

    @property
    def dims(self) -> int:
        """Number of input coordinates, `positions * v`."""
        return self.positions * self.symbols

    @property
    def support(self) -> tuple[int, ...]:
        """All coordinates, counted from 1."""
        return tuple(range(1, self.dims + 1))

    @property
    def arity(self) -> int:
        """The largest number of coordinates or nodes that a node reads."""
        return self.dag.arity

    @functools.cached_property
    def dag(self) -> Dag:
        """The tree of latent symbols over the coordinates."""
        below = [
            tuple(f"x{position * self.symbols + a + 1}" for a in range(self.symbols))
            for position in range(self.positions)
        ]
        nodes, inputs = [], tuple(itertools.chain.from_iterable(below))
        for level in range(1, self.levels + 1):
            names = [f"s{level}_{i + 1}" for i in range(len(below) // self.group)]
            for i, name in enumerate(names):
                read = below[i * self.group : (i + 1) * self.group]
                nodes.append((name, tuple(itertools.chain.from_iterable(read))))
            below = [(name,) for name in names]
        return Dag(inputs, tuple(nodes))

    def encode(
        self, sentences: Int[Array | np.ndarray, "n positions"], dtype: DTypeLike = float
    ) -> Float[Array, "n d"]:
        """Sentences as inputs: position by position the code of the symbol."""
        return encode_symbols(sentences, self.symbols, self.whitened, dtype)

    def decode(self, x: Float[Array | np.ndarray, "n d"]) -> Int[Array, "n positions"]:
        """The sentences behind inputs.

        Raises:
            ValueError: `x` has another number of coordinates.
        """
        check_inputs(x, self.dims)
        codes = jnp.asarray(x).reshape(len(x), self.positions, self.symbols)
        # Of a code the entry of its symbol alone is positive; of a blank none.
        return jnp.where(codes.max(-1) > 0, jnp.argmax(codes, axis=-1).astype(jnp.int32), BLANK)

    def sample(
        self, key: Key[Array, ""], n: int, dtype: DTypeLike = float
    ) -> tuple[Float[Array, "n d"], Float[Array, "n 1"]]:
        """Sentences drawn uniformly among all, with their labels as class numbers."""
        made = self.rules.derive(key, n)
        x = self.encode(self.rules.sentences(made), dtype)
        return x, made.labels[:, None].astype(x.dtype)

    def values(self, x: Float[Array | np.ndarray, "n d"]) -> dict[str, Int[Array, " n"]]:
        """The latent symbol at every node; -1 for a blank, -2 where no rule made it."""
        found = self.rules.latents(self.decode(x))
        return {
            f"s{level}_{i + 1}": found[level][:, i]
            for level in range(1, self.levels + 1)
            for i in range(found[level].shape[1])
        }

    def __call__(self, x: Float[Array | np.ndarray, "n d"]) -> Float[Array, "n 1"]:
        """The label of every sample, a class number; -2 where it is no sentence of the language."""
        return self.rules.latents(self.decode(x))[-1].astype(jnp.asarray(x).dtype)

    def predictions(self) -> dict[str, Any]:
        """The order of samples that matched deep networks need, for `predicted`."""
        discrete = "symbols are discrete: constituents have no derivatives"
        return {
            "sample_complexity": self.p_star,
            "parameters_shallow": None,
            "parameters_deep": None,
            "why_not": {"parameters_shallow": discrete, "parameters_deep": discrete},
        }

    def all_sentences(self) -> tuple[Int[np.ndarray, "p_max positions"], Int[np.ndarray, " p_max"]]:
        """Every sentence once, and its label.

        Raises:
            ValueError: a hierarchy with blanks, or too many sentences.
        """
        if self.blanks or self.p_max > MOST_SENTENCES:
            raise ValueError(
                f"sentences are listed of hierarchies without blanks, up to {MOST_SENTENCES}; "
                f"this one has {self.p_max} and {self.blanks} blanks a symbol"
            )
        number, choices = np.arange(self.p_max), []
        number, labels = np.divmod(number, self.n_classes)
        for level in range(1, self.levels + 1):
            drawn = []
            for _ in range(self.branching ** (self.levels - level)):
                number, digit = np.divmod(number, self.synonyms)
                drawn.append(digit)
            choices.append(jnp.asarray(np.stack(drawn, axis=1), jnp.int32))
        made = Derivation(jnp.asarray(labels, jnp.int32), tuple(choices), None)
        return np.asarray(self.rules.sentences(made)), labels


def encode_symbols(
    sentences: Int[Array | np.ndarray, "n positions"],
    symbols: int,
    whitened: bool = False,
    dtype: DTypeLike = float,
) -> Float[Array, "n d"]:
    """One-hot codes of symbols, position by position; a blank (-1) is all zeros.

    Example:
        >>> import numpy as np
        >>> encode_symbols(np.array([[1, -1, 0]]), symbols=2).tolist()
        [[0.0, 1.0, 0.0, 0.0, 1.0, 0.0]]
    """
    dtype = jnp.dtype(jnp.result_type(float) if dtype is float else dtype)
    sentences = jnp.asarray(sentences)
    codes = jax.nn.one_hot(sentences, symbols, dtype=dtype)
    if whitened:
        codes = (codes - 1 / symbols) * (symbols / (symbols - 1) ** 0.5)
        codes = jnp.where((sentences >= 0)[..., None], codes, 0)
    return codes.reshape(len(sentences), -1)
