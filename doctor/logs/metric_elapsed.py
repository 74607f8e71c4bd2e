"""Step times of loops that print the seconds since their start."""

import numpy as np

from doctor.logs.keyed_numbers import has_series
from doctor.logs.metric_records import Records, first_of
from doctor.logs.number_columns import Numbers
from doctor.metric_keys import ELAPSED
from doctor.points import Floats

# Its own series: an average over the steps between two records, which grows where a schedule lengthens the steps on purpose.
AVERAGED = "averaged_step_time"

_ELAPSED = has_series(ELAPSED)


def elapsed_told(numbers: Numbers, records: Records) -> Floats:
    """The seconds since the loop's start that each record tells, NaN where it tells none."""
    return first_of(numbers, records, _ELAPSED)


class ElapsedReader:
    """Divides the time between records by the steps between them; remembers the last record between texts."""

    def __init__(self) -> None:
        self._last = (np.nan, np.nan)

    def step_times(self, elapsed: Floats, steps: Floats) -> Floats:
        """The average seconds of the steps that end at each record, NaN where that can't be told."""
        known = np.flatnonzero(np.isfinite(elapsed) & ~np.isnan(steps))
        found = np.full(len(steps), np.nan)
        if len(known):
            spent = np.diff(elapsed[known], prepend=self._last[0])
            taken = np.diff(steps[known], prepend=self._last[1])
            forward = (taken > 0) & (spent >= 0)
            found[known[forward]] = (spent / np.where(taken, taken, 1))[forward]
            self._last = (float(elapsed[known[-1]]), float(steps[known[-1]]))
        return found
