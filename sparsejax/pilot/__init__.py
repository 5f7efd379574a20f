"""Small first: whether a small sparse model of what was found in a table is enough."""

from sparsejax.pilot.comparison import (
    Interval as Interval,
    paired as paired,
    resampled_interval as resampled_interval,
)
from sparsejax.pilot.decision import VERDICTS as VERDICTS, Decision as Decision, decide as decide
from sparsejax.pilot.figure import draw_pilot as draw_pilot
from sparsejax.pilot.page import headline as headline
from sparsejax.pilot.small_first import Pilot as Pilot, pilot as pilot
from sparsejax.pilot.training import Training as Training
