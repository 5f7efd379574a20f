"""The base graphs of the ready-made modules: who reads whom, in which shape; and their faults."""

import pytest

from sparsejax.graphs import (
    Bias,
    Dag,
    Edge,
    ModuleError,
    Pooling,
    Scale,
    SoftMul,
    TokenMixing,
    Vertex,
    convnet,
    from_target,
    mixing_transformer,
    mlp,
    recurrent_mlp,
    residual_mlp,
)
from sparsejax.graphs.perceptron_module import PerceptronModule
from sparsejax.targets import CompositionalTarget, Node, product_tree


def sources(module, name):
    """Who a vertex reads, but for the constant of its bias."""
    return [edge.source for edge in module.in_edges(name) if edge.source != "one"]


def test_convnet():
    module = convnet(
        (9, 9), 3, 4, filter_size=[3, 2, 3], padding=["VALID", 1, "SAME"], pooling="max"
    )
    shapes = [module.vertex(name).shape for name in ("x", "h1", "h2", "h3", "y")]
    assert shapes == [(9, 9), (3, 3), (2, 2), (), (4,)]  # 9, 7, pooled; 4, pooled; whole
    assert module.vertex("h2").activation == Pooling("max")
    assert module.vertex("h3").activation == Pooling("mean", window=None)
    assert [sources(module, name) for name in ("h1", "h2", "h3", "y")] == [
        ["x"],
        ["h1"],
        ["h2"],
        ["h3"],
    ]
    assert module.edge("one->h1").map == Bias((7, 7), shared=(0, 1))
    assert module.weight_shape(module.edge("one->h1")) == ()  # one bias a channel
    assert module.duplicated == ("h1", "h2", "h3")
    sequence = convnet(9, 1, 2, channels=4, readout="dense", bias=False)
    assert [e.name for e in sequence.edges] == ["x->h1", "h1->y"]
    assert [sequence.weight_shape(e) for e in sequence.edges] == [(3, 4), (2, 9)]


def test_mixing_transformer():
    module = mixing_transformer(5, 4, blocks=2, outputs=3, inputs=2, head_features=6)
    assert sources(module, "head2") == ["stream1"] * 3
    assert [edge.name for edge in module.in_edges("head2")] == ["q2", "k2", "v2"]
    assert set(sources(module, "attended2")) == {"head2", "stream1"}
    assert sources(module, "perceptron2") == ["attended2"]
    assert set(sources(module, "stream2")) == {"perceptron2", "attended2"}
    assert module.edge("stream1->attended2").map == TokenMixing(4)  # a learned skip
    assert module.vertex("head1").activation == SoftMul()
    assert module.vertex("head1").shape == (5, 6)
    assert {"stream0", "attended1", "stream1"} <= set(module.duplicated)
    assert module.weight_shape(module.edge("one->stream0")) == (5, 4)
    assert module.weight_shape(module.edge("one->perceptron1")) == (4,)
    assert (module.vertex("stream2").shape, module.vertex("y").shape) == ((1, 4), (3,))
    by_token = mixing_transformer(5, 4, 1, 3, causal=True, readout="tokens", bias=False)
    assert by_token.vertex("head1").activation == SoftMul(causal=True)
    assert by_token.vertex("y").shape == (5, 3)
    assert [e.name for e in by_token.edges if isinstance(e.map, Bias)] == ["one->stream0"]
    bare = mixing_transformer(5, 4, 1, 3, readout="dense", positions=False, bias=False)
    assert bare.inputs == ("x",)
    assert bare.weight_shape(bare.edge("stream1->y")) == (3, 5, 4)


def test_residual_and_recurrent():
    module = residual_mlp(3, blocks=2, outputs=1)
    assert set(sources(module, "stream2")) == {"h2", "stream1"}
    assert module.edge("stream1->stream2").map == Scale()
    assert module.duplicated == ("stream0", "h1", "stream1", "h2", "stream2")
    module = recurrent_mlp(3, hidden=2, outputs=1, steps=3)
    assert sources(module, "h1_1") == ["x1"]
    assert sources(module, "h2_3") == ["h1_3", "h2_2"]
    assert sources(module, "y") == ["h2_3"]
    assert module.coordinates == {"x1": 0, "x2": 1, "x3": 2}


class TestTargets:
    def test_the_matched_module_has_the_parents_of_the_dag(self):
        target = product_tree()
        module = from_target(target)
        assert target.dag.order == target.order
        for node in target.nodes:
            parents = [p if p in target.dag.inputs else f"h_{p}" for p in node.parents]
            assert sources(module, f"h_{node.name}") == parents
        assert module.fed_inputs == ("x1", "x2", "x3", "x4")
        assert module.coordinates == {"x1": 0, "x2": 1, "x3": 2, "x4": 3}
        assert module.duplicated == ("h_left", "h_right", "h_y")
        assert sources(module, "y") == ["h_y"]
        assert from_target(target.dag) == module

    def test_the_cone_of_the_root_alone(self):
        """Shared nodes stay shared; what the root does not read, and twice-read parents, go."""
        target = CompositionalTarget(
            3,
            (
                Node("a", abs, ("x3",)),
                Node("idle", abs, ("x1",)),
                Node("b", abs, ("a",)),
                Node("y", max, ("a", "b", "a")),
            ),
        )
        assert target.dag.ancestors == ("a", "b", "y")
        module = from_target(target, bias=False, outputs=2)
        assert [edge.name for edge in module.edges] == [
            "x3->h_a",
            "h_a->h_b",
            "h_a->h_y",
            "h_b->h_y",
            "h_y->y",
        ]
        assert module.coordinates == {"x3": 2}
        assert target.support == (3,)

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (((), (("y", ()),)), "at least one input coordinate and one node"),
            ((("x",), ()), "at least one input coordinate and one node"),
            ((("x", "x"), (("y", ("x",)),)), "input 'x': the name is taken twice"),
            ((("x",), (("x", ("x",)),)), "node 'x': the name is taken twice"),
            ((("x",), (("y", ("z",)),)), "node 'y': no parent 'z'"),
            ((("x",), (("a", ("b",)), ("b", ("a",)))), "close a cycle: . -> . -> ."),
            ((("x",), (("y", ("x",)),), "z"), "root 'z' is no node; the nodes are y"),
        ],
    )
    def test_bad_dags(self, arguments, reason):
        with pytest.raises(ValueError, match=reason):
            Dag(*arguments)

    def test_a_root_may_be_named(self):
        dag = Dag(("x",), (("y", ("a",)), ("a", ("x",))), root="y")
        assert (dag.order, dag.root, dag.parents_of("y")) == (("a", "y"), "y", ("a",))

    def test_bad_targets(self):
        dag = Dag(("x",), (("y", ("x",)),))
        with pytest.raises(ValueError, match="outputs >= 1, got 0"):
            from_target(dag, outputs=0)
        with pytest.raises(ValueError, match="input 'y': the module needs this name"):
            from_target(Dag(("y",), (("root", ("y",)),)))
        with pytest.raises(ValueError, match="root 'y' depends on no input"):
            from_target(Dag(("x",), (("y", ()),)))
        with pytest.raises(ValueError, match="node 'a' has no parents: it needs a bias"):
            from_target(Dag(("x",), (("a", ()), ("y", ("x", "a")))), bias=False)
        # The type checker, where it is on, refuses it before the function can.
        with pytest.raises(Exception, match="from_target"):
            from_target("product_tree")


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: convnet((4, 0), 1, 1), r"one or two positive axes, got \(4, 0\)"),
        (lambda: convnet((4, 4), 0, 1), "hidden >= 1.*got 0, 1, None"),
        (lambda: convnet((4, 4), 1, 1, channels=0), "channels >= 1"),
        (lambda: convnet((4, 4), 2, 1, stride=[1]), "stride lists 1 values for 2 layers"),
        (lambda: convnet((4, 4), 2, 1, padding="VALID", filter_size=[3, 3]), "layer 2: a filter"),
        (lambda: convnet((4, 4), 3, 1, pooling="max", readout="dense"), "layer 3: a window"),
        (lambda: convnet((4, 4), 1, 1, pooling="median", readout="dense"), "median"),
        (lambda: convnet((4, 4), 1, 1, "wavy"), "unknown activation 'wavy'"),
        (lambda: mixing_transformer(0, 1, 1, 1), "tokens >= 1, got 0"),
        (lambda: mixing_transformer(1, 1, 1, 1, head_features=0), "head_features >= 1, got 0"),
        (lambda: mixing_transformer(1, 1, 0, 1), "blocks >= 1, got 0"),
        (lambda: residual_mlp(1, 0, 1), "got 1, 0, 1"),
        (lambda: residual_mlp(1, 1, 1, "wavy"), "unknown activation 'wavy'"),
        (lambda: recurrent_mlp(1, 1, 1, steps=0), "got 1, 1, 1, 0"),
        (lambda: from_target(product_tree(), "wavy"), "unknown activation 'wavy'"),
    ],
)
def test_faults_say_what_would_be_right(build, reason):
    # The type checker, where it is on, refuses a wrong literal before the function can.
    with pytest.raises(Exception, match=reason):
        build()


class TestCoordinates:
    def build(self, *fed, inputs=None):
        names = tuple(vertex.name for vertex in fed)
        return PerceptronModule(
            (*fed, Vertex("y", activation="identity")),
            tuple(Edge(name, "y") for name in names),
            inputs or names,
            ("y",),
        )

    def test_all_fed_inputs_or_none(self):
        a, b = Vertex("a", coordinate=1), Vertex("b", coordinate=0)
        assert self.build(a, b).coordinates == {"a": 1, "b": 0}
        assert self.build(Vertex("a"), Vertex("b")).coordinates == {}
        with pytest.raises(ModuleError, match="input 'b' has no coordinate, unlike 'a'"):
            self.build(a, Vertex("b"))
        with pytest.raises(ModuleError, match="'one' has a coordinate but is not an input"):
            self.build(a, Vertex("one", constant=True, coordinate=0))
        with pytest.raises(ValueError, match="'a': coordinates are counted from 0, got -1"):
            Vertex("a", coordinate=-1)

    def test_a_clamped_vertex_is_one_a_coordinate(self):
        """The other way to see coordinates apart: one base vertex, as many lifted ones."""
        module = mlp(inputs=5, hidden=1, outputs=1, input_as="coordinates")
        assert (module.clamped("x"), module.duplicated, module.coordinates) == (5, ("h1",), {})
        both = self.build(Vertex("a", clamped=2, coordinate=0), Vertex("b", coordinate=1))
        assert (both.clamped("a"), both.clamped("b")) == (2, 1)
