"""How parameters move: gradient flow, gradient descent and what lies between."""

from sparsejax.dynamics.batch_streams import finite as finite, fresh as fresh
from sparsejax.dynamics.checkpoint import (
    Checkpoints as Checkpoints,
    identity_of as identity_of,
)
from sparsejax.dynamics.curvature import (
    effective_times as effective_times,
    gradient_curvatures as gradient_curvatures,
    hessian_ranges as hessian_ranges,
    modified_rate as modified_rate,
    sharpness_along as sharpness_along,
)
from sparsejax.dynamics.ensemble_flow import gradient_flows as gradient_flows
from sparsejax.dynamics.gradient_descent import gradient_descent as gradient_descent
from sparsejax.dynamics.gradient_flow import gradient_flow as gradient_flow
from sparsejax.dynamics.loss import (
    LogisticLoss as LogisticLoss,
    Loss as Loss,
    SquaredLoss as SquaredLoss,
    logistic_loss as logistic_loss,
    squared_loss as squared_loss,
)
from sparsejax.dynamics.modified_loss import (
    ModifiedLoss as ModifiedLoss,
    modified_loss as modified_loss,
)
from sparsejax.dynamics.online import online_ensemble as online_ensemble
from sparsejax.dynamics.online_runs import OnlineRuns as OnlineRuns
from sparsejax.dynamics.proximal import (
    proximal as proximal,
    proximal_group_lasso as proximal_group_lasso,
    proximal_l1 as proximal_l1,
    proximal_non_negative as proximal_non_negative,
)
from sparsejax.dynamics.sample_losses import half_squared as half_squared, hinge as hinge
from sparsejax.dynamics.sgd import sgd as sgd
from sparsejax.dynamics.sharpness import sharpness as sharpness
from sparsejax.dynamics.stochastic_modified_flow import (
    gradient_noise as gradient_noise,
    stochastic_modified_flow as stochastic_modified_flow,
)
from sparsejax.dynamics.stop import Stop as Stop
from sparsejax.dynamics.trajectory import STATUSES as STATUSES, Trajectory as Trajectory
