"""Rolling medians."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from doctor.points import Floats, Ints
from doctor.traces.robust import NOISE_OF_CHANGE

# So many numbers are sorted at once, so that the windows of a long series take no memory in proportion to their width.
AT_ONCE = 1_000_000
# Windows as wide as a share of the series start so many to a width.
TO_A_WIDTH = 64


def median_before(values: Floats, width: int, least: int) -> Floats:
    """For each point the median of the ``width`` points before it; NaN where fewer than ``least`` of them are numbers."""
    before = np.concatenate((np.full(width, np.nan), values))[:-1]
    return _medians(before, width, np.arange(len(values)), least)


def noise_before(values: Floats, width: int, least: int) -> Floats:
    """For each point the noise of the points before it: from the changes between neighbours, so that a trend doesn't count."""
    return NOISE_OF_CHANGE * median_before(np.abs(np.diff(values, prepend=np.nan)), width, least)


def median_of_windows(values: Floats, width: int) -> tuple[Ints, Floats]:
    """(starts, medians) of windows of ``width`` neighbours, in order, the first and the last among them; one window of all
    points if there are no more than that. Wide windows are taken at every 64th of their width."""
    width = min(width, len(values))
    last = len(values) - width
    starts = np.append(np.arange(0, last, max(width // TO_A_WIDTH, 1)), last)
    return starts, _medians(values, width, starts, width)


def _medians(values: Floats, width: int, starts: Ints, least: int) -> Floats:
    """The median of the numbers in the windows that start there; NaN where there are fewer than ``least``."""
    parts = np.array_split(starts, len(starts) * width // AT_ONCE + 1)
    return np.concatenate([_sorted_medians(values, width, part, least) for part in parts])


def _sorted_medians(values: Floats, width: int, starts: Ints, least: int) -> Floats:
    if not len(starts):
        return np.empty(0)
    windows = np.sort(sliding_window_view(values, width)[starts], axis=1)  # what is not a number comes last
    known = np.count_nonzero(~np.isnan(windows), axis=1)
    rows = np.arange(len(windows))
    lower, upper = np.maximum((known - 1) // 2, 0), np.minimum(known // 2, width - 1)
    return np.where(known >= least, (windows[rows, lower] + windows[rows, upper]) / 2, np.nan)
