"""Deep-learning theory, verified by experiment, in JAX.

Reading order: a base graph (`graphs`), its lifts (`random_sparse_lift`, `dense_lift`), how their
parameters move (`gradient_flow`, `gradient_descent`), the first-order picture (`ntk`,
`tangent_constant`), what theory promises (`bounds`), and the experiments (`claims`).
"""

from sparsejax.compatibility import refuse_miscompiling_jax

refuse_miscompiling_jax()  # before anything compiles

from sparsejax import (  # noqa: E402
    bounds as bounds,
    dynamics as dynamics,
    graphs as graphs,
    interop as interop,
    learners as learners,
    lifts as lifts,
    structure as structure,
    tangent as tangent,
    targets as targets,
)
from sparsejax.dynamics import (  # noqa: E402
    Trajectory as Trajectory,
    gradient_descent as gradient_descent,
    gradient_flow as gradient_flow,
    logistic_loss as logistic_loss,
    modified_loss as modified_loss,
    sgd as sgd,
    squared_loss as squared_loss,
)
from sparsejax.interop import (  # noqa: E402
    as_linen as as_linen,
    as_nnx as as_nnx,
    from_equinox as from_equinox,
    from_flax as from_flax,
)
from sparsejax.lifts import (  # noqa: E402
    Lift as Lift,
    dense_lift as dense_lift,
    lift_from_edges as lift_from_edges,
    random_sparse_lift as random_sparse_lift,
)
from sparsejax.tangent import (  # noqa: E402
    linearize as linearize,
    ntk as ntk,
    tangent_approximation as tangent_approximation,
    tangent_constant as tangent_constant,
)
