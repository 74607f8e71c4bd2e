"""Statistics that outliers do not move, and stretches of points."""

import numpy as np
import numpy.typing as npt

from doctor.points import Floats

# The standard deviation of normal noise is so many times the median of the absolute changes between neighbours: 1.4826 makes a
# median absolute deviation a standard deviation, and a change holds the noise of two points.
NOISE_OF_CHANGE = 1.4826 / 2**0.5


def noise_of(values: Floats) -> float:
    """The noise of a whole series, by the same estimate."""
    if len(values) < 2:
        return 0.0
    return float(NOISE_OF_CHANGE * np.median(np.abs(np.diff(values))))


def median_known(values: Floats) -> float:
    """The median of the values that are numbers; NaN if none is."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else np.nan


def longest_stretch(flags: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """(first, last) index of the longest stretch of true; (0, -1) if there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    firsts, ends = edges[::2], edges[1::2]
    if not len(firsts):
        return 0, -1
    longest = int(np.argmax(ends - firsts))
    return int(firsts[longest]), int(ends[longest]) - 1


def kendall_tau(values: Floats, most: int = 200) -> float:
    """How steadily values rise: the share of pairs in ascending order less the share in descending order."""
    if len(values) > most:
        values = np.array([np.median(part) for part in np.array_split(values, most)])
    if len(values) < 2:
        return 0.0
    later, earlier = np.triu_indices(len(values), 1)[::-1]
    return float(np.mean(np.sign(values[later] - values[earlier])))
