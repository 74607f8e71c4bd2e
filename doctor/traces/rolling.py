"""Rolling medians. Short series, which nearly all are, need numpy alone; for long ones pandas is loaded, whose medians keep
their windows sorted."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from doctor.points import Floats
from doctor.traces.robust import NOISE_OF_CHANGE

# Up to so many numbers in all windows together, sorting every window takes less time than loading pandas.
MOST_SORTED = 4_000_000


def median_before(values: Floats, width: int, least: int) -> Floats:
    """For each point the median of the ``width`` points before it; NaN where fewer than ``least`` of them are numbers."""
    before = np.concatenate((np.full(width, np.nan), values))[:-1]
    return _medians(before, width, least) if len(values) else values


def noise_before(values: Floats, width: int, least: int) -> Floats:
    """For each point the noise of the points before it: from the changes between neighbours, so that a trend doesn't count."""
    return NOISE_OF_CHANGE * median_before(np.abs(np.diff(values, prepend=np.nan)), width, least)


def median_of_windows(values: Floats, width: int) -> Floats:
    """The median of every window of ``width`` neighbours, in order; of all, if there are no more points than that."""
    width = min(width, len(values))
    return _medians(values, width, width)


def _medians(values: Floats, width: int, least: int) -> Floats:
    """The median of the numbers in each window of this width; NaN where there are fewer than ``least``."""
    if len(values) * width > MOST_SORTED:
        return _medians_of_many(values, width, least)
    windows = np.sort(sliding_window_view(values, width), axis=1)  # what is not a number comes last
    known = np.count_nonzero(~np.isnan(windows), axis=1)
    rows, upper = np.arange(len(windows)), known // 2
    lower = np.maximum((known - 1) // 2, 0)
    medians = (windows[rows, lower] + windows[rows, np.minimum(upper, width - 1)]) / 2
    return np.where(known >= max(least, 1), medians, np.nan)


def _medians_of_many(values: Floats, width: int, least: int) -> Floats:
    import pandas as pd

    rolled = pd.Series(values).rolling(width, min_periods=least).median()
    return rolled.to_numpy(np.float64)[width - 1 :]
