"""Stabilised explicit Runge-Kutta methods, as diffrax solvers."""

from .rkc2 import RKC2 as RKC2
from .rkc4 import RKC4 as RKC4
from .rock2 import ROCK2 as ROCK2
from .rock4 import ROCK4 as ROCK4
from .stabilised import (
    AbstractStabilisedRungeKutta as AbstractStabilisedRungeKutta,
    StabilisedState as StabilisedState,
)
from .work import (
    CountingController as CountingController,
    counting as counting,
    evaluation_counts as evaluation_counts,
    work_counts as work_counts,
)
