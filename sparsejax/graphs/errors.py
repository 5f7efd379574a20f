"""Why a perceptron module is not one: each fault has a name and points at a vertex or an edge."""


class ModuleError(ValueError):
    """A perceptron module that breaks its definition; subclasses say how."""


class DuplicateNameError(ModuleError):
    """Two vertices, or two edges, share a name."""


class UnknownVertexError(ModuleError):
    """An edge, an input or an output names a vertex that does not exist."""


class CycleError(ModuleError):
    """The edges close a cycle; a perceptron module is acyclic."""


class InputWithInEdgesError(ModuleError):
    """An input vertex, whose value is given, has in-edges."""


class UnreachableOutputError(ModuleError):
    """No path leads from any input to an output."""


class ShapeMismatchError(ModuleError):
    """An edge map does not accept its source, or an activation does not fit its vertex."""


class MissingActivationError(ModuleError):
    """A vertex that is not an input has no activation or no in-edges."""


class NotLinearError(ModuleError):
    """An edge map is not linear in its weight."""
