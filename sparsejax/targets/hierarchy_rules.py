"""Production rules of a random hierarchy: symbols become tuples of symbols, and back, exactly."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

BLANK = -1
"""The symbol that says nothing, in sparse hierarchies."""
UNKNOWN = -2
"""In place of a symbol where a tuple is produced by no rule."""

# A table of all tuples is held for the inversion.
MOST_TUPLES = 2**22


@dataclasses.dataclass(frozen=True)
class HierarchySizes:
    """The numbers of a random hierarchy model; the letters are those of its paper.

    Level `levels` (L) is the label, one of `classes` (n_c; as many as symbols unless given). A
    symbol of level l has `synonyms` (m) rules, each of which makes it a tuple of `branching` (s)
    symbols of level l - 1 out of `symbols` (v); level 0 is what is seen. No tuple has two parents.
    In a sparse hierarchy every symbol comes with `blanks` (s_0) blank ones: a tuple is spread, in
    order, over `s (s_0 + 1)` places, which differ from sentence to sentence.

    Raises:
        ValueError: numbers out of range, or more rules than tuples.

    Source: Cagnetta, Petrini, Tomasini, Favero, Wyart, Phys. Rev. X 2024 (arXiv 2307.02129);
    blanks: Tomasini, Wyart, ICML 2024 (arXiv 2404.10727).

    Example:
        >>> sizes = HierarchySizes(symbols=8, synonyms=4, levels=3)
        >>> sizes.positions, sizes.p_star, sizes.p_max
        (8, 512, 131072)
    """

    symbols: int = 8
    synonyms: int = 4
    levels: int = 2
    branching: int = 2
    classes: int | None = None
    blanks: int = 0

    def __post_init__(self) -> None:
        for name, least in (("symbols", 2), ("synonyms", 1), ("levels", 1), ("branching", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: at least {least}, got {getattr(self, name)}")
        if self.n_classes < 2 or self.blanks < 0:
            raise ValueError(
                f"classes: at least 2, blanks: at least 0, got {self.n_classes}, {self.blanks}"
            )
        tuples = self.symbols**self.branching
        rules = self.synonyms * max(self.n_classes, self.symbols if self.levels > 1 else 0)
        if rules > tuples:
            raise ValueError(
                f"synonyms: {rules} rules of a level need as many tuples, and {self.symbols} "
                f"symbols make {tuples} of length {self.branching}; lower synonyms or classes"
            )
        if tuples > MOST_TUPLES:
            raise ValueError(
                f"symbols: {tuples} tuples are more than the {MOST_TUPLES} that a table holds"
            )

    @property
    def n_classes(self) -> int:
        """Number of labels, `n_c`."""
        return self.symbols if self.classes is None else self.classes

    @property
    def group(self) -> int:
        """Places that one symbol becomes on the level below: `s (s_0 + 1)`."""
        return self.branching * (self.blanks + 1)

    @property
    def positions(self) -> int:
        """Symbols of a sentence, blank ones too: `(s (s_0 + 1))^L`."""
        return self.group**self.levels

    @property
    def productions(self) -> int:
        """Rules that are applied in making one sentence: `(s^L - 1) / (s - 1)`."""
        return (self.branching**self.levels - 1) // (self.branching - 1)

    @property
    def p_max(self) -> int:
        """Number of sentences: `n_c m^{(s^L - 1)/(s - 1)}`, times the placements of blanks."""
        spreads = math.comb(self.group, self.branching)
        return self.n_classes * (self.synonyms * spreads) ** self.productions

    @property
    def p_star(self) -> int:
        """Order of the samples that a matched deep network needs: `n_c m^L`.

        `(s_0 + 1)^L` as many in a sparse hierarchy, by locally connected networks; convolutional
        ones need `(s_0 + 1)^2` as many (measured by Tomasini, Wyart).
        """
        return self.n_classes * (self.synonyms * (self.blanks + 1)) ** self.levels

    def symbols_at(self, level: int) -> int:
        """How many symbols there are to choose from at a level; the labels at the last one."""
        return self.n_classes if level == self.levels else self.symbols


class Derivation(eqx.Module):
    """How sentences were made: the labels `(n,)`, and at each level which rule was taken.

    `choices[l - 1]`: the rule of each symbol of level l, `(n, group^(L - l))`, at blanks of no
    meaning. `places[l - 1]`: where its tuple stands, `(n, group^(L - l), s)`; None without blanks.
    """

    labels: Int[Array, " n"]
    choices: tuple[Int[Array, "n _"], ...]
    places: tuple[Int[Array, "n _ s"], ...] | None


class HierarchyRules(eqx.Module):
    """The rules of one random hierarchy, arrays: `vmap` over rules is an ensemble of languages.

    `tuples[l - 1]`: what symbols of level l become, `(symbols of level l, m, s)`. `rule_of[l - 1]`:
    the rule behind each of the `v^s` tuples, `m * symbol + synonym`, or -1.
    """

    tuples: tuple[Int[Array | np.ndarray, "_ m s"], ...]
    rule_of: tuple[Int[Array | np.ndarray, " _"], ...]
    sizes: HierarchySizes = eqx.field(static=True)

    def derive(self, key: Key[Array, ""], n: int) -> Derivation:
        """`n` derivations, all equally probable: so are all sentences."""
        sizes = self.sizes
        label_key, choice_key, place_key = jax.random.split(key, 3)
        labels = jax.random.randint(label_key, (n,), 0, sizes.n_classes, jnp.int32)
        choices, places = [], []
        for level in range(1, sizes.levels + 1):
            width = sizes.group ** (sizes.levels - level)
            own = jax.random.fold_in(choice_key, level)
            choices.append(jax.random.randint(own, (n, width), 0, sizes.synonyms, jnp.int32))
            if sizes.blanks:
                own = jax.random.fold_in(place_key, level)
                order = jnp.argsort(jax.random.uniform(own, (n, width, sizes.group)), axis=-1)
                places.append(jnp.sort(order[..., : sizes.branching], axis=-1).astype(jnp.int32))
        return Derivation(labels, tuple(choices), tuple(places) if sizes.blanks else None)

    def levels(self, derivation: Derivation) -> tuple[Int[Array, "n _"], ...]:
        """The symbols of every level, the sentence first and the label, `(n, 1)`, last."""
        sizes = self.sizes
        found = [derivation.labels[:, None]]
        for level in range(sizes.levels, 0, -1):
            parents, choice = found[-1], derivation.choices[level - 1]
            table = jnp.asarray(self.tuples[level - 1])
            children = table[jnp.maximum(parents, 0), choice]
            if derivation.places is not None:
                at = derivation.places[level - 1][..., None, :]
                here = at == jnp.arange(sizes.group, dtype=at.dtype)[None, None, :, None]
                children = jnp.where(here, children[..., None, :], 0).sum(-1, dtype=children.dtype)
                children = jnp.where(here.any(-1), children, BLANK)
                children = jnp.where((parents == BLANK)[..., None], BLANK, children)
            found.append(children.reshape(children.shape[0], -1))
        return tuple(reversed(found))

    def sentences(self, derivation: Derivation) -> Int[Array, "n positions"]:
        """What is seen: the symbols of level 0."""
        return self.levels(derivation)[0]

    def exchange(self, key: Key[Array, ""], derivation: Derivation, level: int) -> Derivation:
        """The same with all tuples that level `level` made replaced by one of their synonyms.

        Everything else of the derivation stays; what stands below a new tuple is its own, of
        course. Labels stay at every level.

        Raises:
            ValueError: no such level, or no synonyms.
        """
        sizes = self.sizes
        if not 1 <= level <= sizes.levels or sizes.synonyms < 2:
            raise ValueError(
                f"level {level}: levels are 1 to {sizes.levels}, and synonyms need two rules or "
                f"more, got {sizes.synonyms}"
            )
        old = derivation.choices[level - 1]
        other = jax.random.randint(key, old.shape, 1, sizes.synonyms, old.dtype)
        choices = list(derivation.choices)
        choices[level - 1] = (old + other) % sizes.synonyms
        return Derivation(derivation.labels, tuple(choices), derivation.places)

    def latents(
        self, sentences: Int[Array | np.ndarray, "n positions"]
    ) -> tuple[Int[Array, "n _"], ...]:
        """The symbols of every level of given sentences, the label last: the exact inversion.

        `UNKNOWN` wherever no rule makes such a tuple.
        """
        sizes, found = self.sizes, [jnp.asarray(sentences)]
        weights = jnp.asarray(digit_weights(sizes))
        for level in range(1, sizes.levels + 1):
            groups = found[-1].reshape(len(found[-1]), -1, sizes.group)
            seen = groups != BLANK
            count = seen.sum(-1)
            if sizes.blanks:
                order = jnp.argsort(~seen, axis=-1, stable=True)[..., : sizes.branching]
                groups = jnp.take_along_axis(groups, order, axis=-1)
            whole = (groups >= 0).all(-1) & (count == sizes.branching)
            number = jnp.where(whole, (groups.astype(jnp.int32) * weights[None, None]).sum(-1), 0)
            rule = jnp.asarray(self.rule_of[level - 1])[number]
            parent = jnp.where(whole & (rule >= 0), rule // sizes.synonyms, UNKNOWN)
            found.append(jnp.where(count == 0, BLANK, parent))
        return tuple(found)


def draw_rules(key: Key[Array, ""], sizes: HierarchySizes) -> HierarchyRules:
    """Rules drawn at random among those without ambiguity; works under `jit` and `vmap`.

    At each level as many different tuples as there are rules, uniformly at random, are dealt out
    to the symbols of the level.

    Example:
        >>> import jax
        >>> rules = draw_rules(jax.random.key(0), HierarchySizes(3, 2, 2))
        >>> made = rules.derive(jax.random.key(1), 5)
        >>> (rules.latents(rules.sentences(made))[-1][:, 0] == made.labels).all().item()
        True
    """
    tuples, rule_of = [], []
    count = sizes.symbols**sizes.branching
    digits = jnp.asarray(digit_weights(sizes))
    for level in range(1, sizes.levels + 1):
        rules = sizes.symbols_at(level) * sizes.synonyms
        shuffled = jax.random.permutation(jax.random.fold_in(key, level), count)
        chosen = shuffled[:rules].astype(jnp.int32)
        made = (chosen[:, None] // digits[None]) % sizes.symbols
        tuples.append(made.reshape(sizes.symbols_at(level), sizes.synonyms, sizes.branching))
        numbers = jnp.arange(rules, dtype=jnp.int32)
        rule_of.append(jnp.full(count, -1, jnp.int32).at[chosen].set(numbers))
    return HierarchyRules(tuple(tuples), tuple(rule_of), sizes)


def digit_weights(sizes: HierarchySizes) -> Int[np.ndarray, " s"]:
    """A tuple as a number in base `v`, its first symbol leading."""
    return sizes.symbols ** np.arange(sizes.branching - 1, -1, -1, dtype=np.int32)
