"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import sparsejax

ROOT = Path(sparsejax.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if path.name != "__main__.py"
)

# Two seconds of compilation or more, each; what they show has tests of its own.
LONG = (
    "bounds.compare",
    "bounds.path_length",
    "bounds.rayleigh",
    "bounds.readout_certificate",
    "bounds.tangent",
    "claims.shallow_against_deep_networks",
    "dynamics.ensemble_flow",
    "dynamics.gradient_flow",
    "dynamics.solvers.rock2",
    "dynamics.solvers.rock4",
    "dynamics.solvers.work",
    "dynamics.stochastic_modified_flow",
    "dynamics.stop",
    "graphs.mixing_transformer",
    "lifts.disjoint_union",
    "lifts.growth",
    "lifts.lift",
    "structure.synonymic_sensitivity",
    "tangent.population_tangent_constant",
    "tangent.spectrum_probes",
    "tangent.trace_estimates",
    "targets.hierarchy_correlations",
    "targets.hierarchy_rules",
    "targets.random_hierarchy",
)


class Finder(doctest.DocTestFinder):
    """Also finds what a decorator has wrapped: jax.jit, and the type checks of these tests."""

    def _from_module(self, module, object):
        if isinstance(object, property):
            object = object.fget
        return getattr(inspect.unwrap(object), "__module__", None) == module.__name__


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name.removeprefix("sparsejax.") in LONG))
        for name in MODULES
    ],
)
def test_examples(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS, verbose=False
    )
    for test in Finder(exclude_empty=True).find(module, name):
        report = []
        runner.run(test, out=report.append)
        assert not report, "".join(report)


def test_long_examples_are_of_modules_that_exist():
    assert {f"sparsejax.{name}" for name in LONG} <= set(MODULES)


def test_examples_of_decorated_functions_are_found(tmp_path, monkeypatch):
    source = (
        "import functools\n"
        "def decorate(function):\n"
        "    return functools.wraps(function)(lambda *a: function(*a))\n"
        "@decorate\n"
        "def half(x):\n"
        '    """>>> half(2)\n    3\n    """\n'
        "    return x / 2\n"
        "class Pair:\n"
        "    @property\n"
        "    def sum(self):\n"
        '        """>>> 1 + 1\n        3\n        """\n'
    )
    (tmp_path / "decorated.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("decorated")
    found = {test.name for test in Finder().find(module) if test.examples}
    assert found == {"decorated.half", "decorated.Pair.sum"}
