"""Statistics of ensembles of lifts: fractions, means, hitting times, exponents, and their power."""

from sparsejax.claims.statistics.decision import (
    RANK as RANK,
    decided as decided,
    with_interval as with_interval,
    worst_of as worst_of,
)
from sparsejax.claims.statistics.hitting_times import (
    MedianTime as MedianTime,
    hitting_time as hitting_time,
    median_hitting_time as median_hitting_time,
)
from sparsejax.claims.statistics.means import (
    bounded_mean_interval as bounded_mean_interval,
    mean_interval as mean_interval,
)
from sparsejax.claims.statistics.power import (
    lifts_to_place_estimate as lifts_to_place_estimate,
    lifts_to_place_proportion as lifts_to_place_proportion,
    lifts_to_place_slope as lifts_to_place_slope,
    lifts_to_tell_proportions_apart as lifts_to_tell_proportions_apart,
    underpowered as underpowered,
)
from sparsejax.claims.statistics.proportions import (
    ProportionDifference as ProportionDifference,
    clopper_pearson as clopper_pearson,
    compare_proportions as compare_proportions,
    difference_of_proportions as difference_of_proportions,
    learning_number as learning_number,
    least_size_at as least_size_at,
)
from sparsejax.claims.statistics.sequential import (
    confidence_sequence as confidence_sequence,
    lifts_for_width as lifts_for_width,
)
from sparsejax.claims.statistics.slopes import (
    bootstrap_slope_interval as bootstrap_slope_interval,
    jackknife_slope_interval as jackknife_slope_interval,
    ladder_slope_interval as ladder_slope_interval,
    log_log_slope as log_log_slope,
)
from sparsejax.claims.statistics.time_ratios import TimeRatio as TimeRatio, time_ratio as time_ratio
