"""What claims about PAC-convergence share: conditions, ensembles of lifts, counts of successes."""

from sparsejax.claims.pac.condition import (
    ARCHITECTURES as ARCHITECTURES,
    TARGETS as TARGETS,
    Condition as Condition,
    PacSetting as PacSetting,
    architecture as architecture,
    check_pac_setting as check_pac_setting,
    conditions as conditions,
)
from sparsejax.claims.pac.ensemble import (
    Ensemble as Ensemble,
    ensemble as ensemble,
)
from sparsejax.claims.pac.forecast import (
    forecasts as forecasts,
    start_constant as start_constant,
)
from sparsejax.claims.pac.ladder import (
    Ladder as Ladder,
    Rung as Rung,
    decisive as decisive,
    overall as overall,
    place as place,
    rung as rung,
)
from sparsejax.claims.pac.outcome import flow_outcomes as flow_outcomes
from sparsejax.claims.pac.over_devices import over_devices as over_devices
from sparsejax.claims.pac.pac_data import PacData as PacData, pac_data as pac_data
