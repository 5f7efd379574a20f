"""The claims there are, by name. Listing them imports none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sparsejax.claims.claim import Claim

_METHODS = ("validate", "control", "trials", "measure", "judge", "draw", "table")


@dataclass(frozen=True)
class Entry:
    """What `sparsejax list` shows of a claim, and the module whose `CLAIM` is the claim itself.

    >>> Entry("my-claim", "What it says.", "Where from.", "my_package.my_claim").name
    'my-claim'
    """

    name: str
    statement: str
    source: str
    module: str


class Registry(Mapping[str, Claim]):
    """Claims by name; each is imported when it is first asked for.

    >>> registry = Registry([Entry("my-claim", "What it says.", "Where from.", "my_package.mine")])
    >>> list(registry), registry.entry("my-claim").statement
    (['my-claim'], 'What it says.')
    """

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._loaded: dict[str, Claim] = {}

    def __getitem__(self, name: str) -> Claim:
        if name not in self._loaded:
            self._loaded[name] = import_module(self._entries[name].module).CLAIM
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, name: str) -> Entry:
        """Name, statement and source, without the import; KeyError when there is no such claim."""
        return self._entries[name]

    def register(self, claim: Any) -> None:
        """Add a claim of your own, for this process.

        Raises:
            ValueError: when the name is taken.
            TypeError: when it lacks a part of the claim protocol.
        """
        parts = (*Claim.__annotations__, *_METHODS)
        missing = [part for part in parts if not hasattr(claim, part)]
        if missing:
            raise TypeError(f"{claim!r} is no claim: it lacks {', '.join(missing)}")
        if claim.name in self._entries:
            raise ValueError(f"there is a claim named {claim.name!r} already")
        module = type(claim).__module__
        self._entries[claim.name] = Entry(claim.name, claim.statement, claim.source, module)
        self._loaded[claim.name] = claim


CLAIMS = Registry(
    [
        Entry(
            "tangent-approximation",
            "A small tangent approximation constant forces the loss of a gradient flow down, and "
            "random sparse lifts make it small as they grow.",
            "Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930)",
            "sparsejax.claims.tangent_approximation",
        ),
        Entry(
            "ntk-rate",
            "The loss of a gradient flow decays at exactly four times the Rayleigh quotient of the "
            "tangent kernel at its residual, and so at least at four times its least eigenvalue.",
            "Jacot, Gabriel, Hongler, NeurIPS 2018 (arXiv 1806.07572); Robin, Scaman, Lelarge, "
            "NeurIPS 2022 (arXiv 2301.08117)",
            "sparsejax.claims.ntk_rate",
        ),
        Entry(
            "underparameterised",
            "With fewer parameters than samples the least eigenvalue of the tangent kernel is zero "
            "and promises nothing, yet the loss decays: by the Rayleigh quotient exactly, and at "
            "least as the tangent approximation constant says.",
            "Robin, Scaman, Lelarge, NeurIPS 2022 (arXiv 2301.08117) and ICLR 2024 "
            "(arXiv 2501.05930)",
            "sparsejax.claims.underparameterised",
        ),
        Entry(
            "pac-convergence",
            "Where some lift reaches a loss of epsilon, random sparse lifts above some size reach "
            "it by gradient flow with probability at least 1 - delta.",
            "Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930)",
            "sparsejax.claims.pac_convergence",
        ),
        Entry(
            "discrete-time-pac",
            "Random sparse lifts reach epsilon with probability at least 1 - delta also in "
            "discrete time, by gradient descent and by SGD on fresh samples of every batch size, "
            "up to some step size.",
            "open in Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930); stated here",
            "sparsejax.claims.discrete_time_pac",
        ),
        Entry(
            "flow-vs-gd",
            "Gradient descent and the mean of SGD follow the gradient flow to first order in the "
            "step size, gradient descent the modified flow to second order; SGD spreads like its "
            "root.",
            "Barrett, Dherin, ICLR 2021 (arXiv 2009.11162); Li, Tai, E, ICML 2017 "
            "(arXiv 1511.06251)",
            "sparsejax.claims.flow_vs_gd",
        ),
        Entry(
            "coverage",
            "In random sparse lifts the fraction of cones that are not trees falls like 1/n, and "
            "every tree shape is found a number of times that grows like n, with the predicted "
            "fraction.",
            "Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930); expectations derived here",
            "sparsejax.claims.coverage",
        ),
        Entry(
            "fibration",
            "If a map of lifts sends the in-edges of every vertex bijectively and weights are "
            "carried along it, every vertex computes what its image does; so does an unrolled "
            "in-tree.",
            "Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930); Boldi, Vigna 2002",
            "sparsejax.claims.fibration",
        ),
        Entry(
            "witness",
            "Approximate copies of a trained witness's cones in a random lift grow like its size; "
            "spread over them, the witness's output weights are a step that reaches its loss, and "
            "the tangent constant, which is at most that step, falls as copies become many.",
            "Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930); expected counts derived here",
            "sparsejax.claims.witness",
        ),
        Entry(
            "discrete-time",
            "The tangent bound survives discretisation: it holds along gradient descent of every "
            "step size below 2 / curvature along its steps, and ends to apply beyond.",
            "derived here from Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930)",
            "sparsejax.claims.discrete_time",
        ),
        Entry(
            "edge-of-stability",
            "Full-batch gradient descent sharpens until the sharpness is 2 / step size and hovers "
            "there, while its loss goes up and down step by step and down in the long run.",
            "Cohen, Kaur, Li, Kolter, Talwalkar, ICLR 2021 (arXiv 2103.00065)",
            "sparsejax.claims.edge_of_stability",
        ),
        Entry(
            "conservation",
            "Gradient flow conserves the difference between in-weights and out-weights of every "
            "positively homogeneous vertex, and a matrix of every linear layer.",
            "Du, Hu, Lee, NeurIPS 2018 (arXiv 1806.00900); Arora, Cohen, Hazan, ICML 2018",
            "sparsejax.claims.conservation",
        ),
        Entry(
            "deep-linear-modes",
            "From a balanced start, each mode of a linear network of N factors grows on its own, "
            "by du/dt = N u^(2 - 2/N) (s - u).",
            "Saxe, McClelland, Ganguli, ICLR 2014 (arXiv 1312.6120); Arora, Cohen, Hazan 2018",
            "sparsejax.claims.deep_linear_modes",
        ),
        Entry(
            "diagonal-linear-bias",
            "Gradient flow of a diagonal linear network started at u = v = alpha ends at the "
            "interpolant of least sum_i q(b_i / alpha^2): least L1 norm for small alpha, least L2 "
            "for large.",
            "Woodworth et al., COLT 2020 (arXiv 2002.09277)",
            "sparsejax.claims.diagonal_linear_bias",
        ),
        Entry(
            "lazy-limit",
            "In dense networks under the NTK parametrisation the tangent kernel's relative drift "
            "along training falls at least like width^(-1/2), and its spread at initialisation "
            "like width^(-1/2); for random sparse lifts of constant in-degree both are measured.",
            "Jacot et al., NeurIPS 2018 (arXiv 1806.07572); Lee et al., NeurIPS 2019 "
            "(arXiv 1902.06720); Huang, Yau, ICML 2020 (arXiv 1909.08156); sparse lifts: open",
            "sparsejax.claims.lazy_limit",
        ),
        Entry(
            "linearised-dynamics",
            "In the NTK parametrisation, the distance up to a fixed time between a random lift "
            "and its linearisation, in outputs and in weights, falls as the lift grows.",
            "Jacot et al. 2018 (arXiv 1806.07572); Lee et al. 2019 (arXiv 1902.06720)",
            "sparsejax.claims.linearised_dynamics",
        ),
        Entry(
            "certified-pac",
            "Above some size, random sparse lifts are certified at initialisation to reach a "
            "level, with probability at least 1 - delta; and no certified flow breaks its promise.",
            "derived here (bounds 2.2, 2.4, 2.5) from Robin, Scaman, Lelarge, ICLR 2024 "
            "(arXiv 2501.05930)",
            "sparsejax.claims.certified_pac",
        ),
        Entry(
            "dense-lifts",
            "At an equal number of parameters, random sparse lifts reach a level of the loss by a "
            "flow time at least as often as dense lifts of the same base graph, up to a tolerance.",
            "Motivated by Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930), whose theorem is "
            "about sparse lifts; dense lifts: open",
            "sparsejax.claims.dense_lifts",
        ),
        Entry(
            "parameter-convergence",
            "Under squared loss, the gradient flow of a random sparse lift that can fit its "
            "samples has finite length with probability at least 1 - delta: its parameters "
            "converge.",
            "open beside Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930), which promises the "
            "loss; logistic loss: Lyu, Li, ICLR 2020 (arXiv 1906.05890)",
            "sparsejax.claims.parameter_convergence",
        ),
        Entry(
            "sparsity-tradeoff",
            "At equal parameters, and so equal multiply-adds, random sparse lifts of some "
            "in-degree end the flow on a compositional target with a test loss no worse than "
            "dense ones.",
            "tested here; compositional sparsity: Danhofer, D'Ascenzo, Dubach, Poggio, ICML 2025 "
            "(arXiv 2507.02550); sparse lifts: Robin, Scaman, Lelarge, ICLR 2024 "
            "(arXiv 2501.05930)",
            "sparsejax.claims.sparsity_tradeoff",
        ),
        Entry(
            "merged-staircase",
            "Online SGD of a two-layer network learns functions of the cube the later the larger "
            "their leap, in times that grow faster with dimension where the leap is above 2, and "
            "learns the terms of each in the order of a staircase.",
            "Abbe, Boix-Adsera, Misiakiewicz, COLT 2022 (arXiv 2202.08658) and COLT 2023 "
            "(arXiv 2302.11055), a conjecture in general",
            "sparsejax.claims.merged_staircase",
        ),
        Entry(
            "shared-against-disjoint",
            "Of functions of the cube with the same degrees, online SGD of a two-layer network "
            "learns one whose terms share coordinates, each building on the one before, several "
            "times sooner than those whose terms are disjoint.",
            "Abbe, Boix-Adsera, Misiakiewicz, COLT 2022 (arXiv 2202.08658); Danhofer, D'Ascenzo, "
            "Dubach, Poggio, ICML 2025 (arXiv 2507.02550); the factor: measured here",
            "sparsejax.claims.shared_against_disjoint",
        ),
        Entry(
            "stagewise-learning",
            "Under online SGD the coefficients of a staircase rise one after the other, each at a "
            "time of its own; under frozen output weights the k-th input weight starts as "
            "t^(2^(k-1)).",
            "Abbe, Boix-Adsera, Misiakiewicz, COLT 2022 (arXiv 2202.08658); constants derived here",
            "sparsejax.claims.stagewise_learning",
        ),
        Entry(
            "shallow-against-deep",
            "On binary trees the lift of the tree's own sparse graph reaches an error with fewer "
            "parameters than a shallow network and than a dense deep one, and the ratio of the "
            "shallow one's error to its own at equal parameters grows with the number of inputs.",
            "Poggio, Mhaskar, Rosasco, Miranda, Liao 2017 (arXiv 1611.00740), on approximation; "
            "of trained networks: measured here",
            "sparsejax.claims.shallow_against_deep",
        ),
        Entry(
            "intermediate-supervision",
            "SGD learns a parity several times sooner when the values of the inner nodes of its "
            "composition are taught as further outputs; nodes of other samples and of another "
            "parity are measured beside.",
            "Wies, Levine, Shashua, ICLR 2023 (arXiv 2204.02892); Kim, Suzuki, ICLR 2025 "
            "(arXiv 2410.08633)",
            "sparsejax.claims.intermediate_supervision",
        ),
        Entry(
            "sgd-alone",
            "Plain SGD, without a matched architecture or a penalty, finds the constituents of "
            "compositional targets with probability at least 1 - delta: first the support, and "
            "then hidden units that read single constituents.",
            "asked as an open question by Danhofer, D'Ascenzo, Dubach, Poggio, ICML 2025 "
            "(arXiv 2507.02550); measured here",
            "sparsejax.claims.sgd_alone",
        ),
        Entry(
            "parity",
            "SGD on a sparse parity makes progress behind a flat loss: the first gradient tells "
            "the relevant inputs from the rest by a gap of closed form, their weights move ahead "
            "while the loss stands still, and every run learns, in a time of at most n^k.",
            "Barak, Edelman, Goel, Kakade, Malach, Zhang, NeurIPS 2022 (arXiv 2207.08799)",
            "sparsejax.claims.parity",
        ),
        Entry(
            "information-exponent",
            "Online spherical SGD finds the direction of a single-index target of information "
            "exponent k in about d steps for k = 1, d log d for k = 2, and d^(k - 1) for k >= 3.",
            "Ben Arous, Gheissari, Jagannath, JMLR 2021 (arXiv 2003.10409), theorems 1.3 and 1.4",
            "sparsejax.claims.information_exponent",
        ),
        Entry(
            "random-hierarchy",
            "Deep networks of a random hierarchy's shape learn its labels from a number of samples "
            "of order P* = n_c m^L, at which they become blind to synonyms; shallow ones of as "
            "many parameters need more.",
            "Cagnetta, Petrini, Tomasini, Favero, Wyart, Phys. Rev. X 2024 (arXiv 2307.02129)",
            "sparsejax.claims.random_hierarchy",
        ),
        Entry(
            "transformers-and-structure",
            "Training makes the outputs of small transformers blinder to the lowest synonyms of a "
            "hierarchy, and what stands behind their first block to those before the next ones.",
            "Sensitivities: Cagnetta et al., Phys. Rev. X 2024 (arXiv 2307.02129); transformers "
            "and lifts of them: measured here",
            "sparsejax.claims.transformers_and_structure",
        ),
        Entry(
            "support-recovery",
            "From few noisy samples of a function of few inputs, SGD with a group lasso on input "
            "columns finds exactly these inputs with probability at least 1 - delta, and ends with "
            "a smaller error than without penalty or with weight decay.",
            "measured here; group lasso: Yuan, Lin 2006; compositional sparsity: Danhofer, "
            "D'Ascenzo, Dubach, Poggio, ICML 2025 (arXiv 2507.02550)",
            "sparsejax.claims.support_recovery",
        ),
        Entry(
            "sparsity-detection",
            "From samples alone, noisy and with gaps, variance-based sensitivities and "
            "interactions tell which few inputs matter and which act together, and show nothing "
            "in a permuted target.",
            "Danhofer, D'Ascenzo, Dubach, Poggio, ICML 2025 (arXiv 2507.02550) and Sobol 2001; the "
            "experiment is ours",
            "sparsejax.claims.sparsity_detection",
        ),
        Entry(
            "noisy-data",
            "With a tenth of noise and a twentieth of values missing the support of a composition "
            "is found; noise, missing values (at random or not, imputed or not), class imbalance "
            "and fewer rows make recovery of support and groups worse level by level, and none "
            "makes anything show in a permuted target.",
            "measured here; mechanisms of missingness: Rubin 1976; trend: Page, J. American "
            "Statistical Association 1963",
            "sparsejax.claims.noisy_data",
        ),
    ]
)
"""Every claim that `sparsejax verify` knows."""
