"""Where a log holds metrics: few scan patterns that find metric lines, among all the others in the one database.

What stands in those lines is read by ``metric_points.py``; it needs numpy, so it is imported when the first pattern is found.
"""

import re
from collections.abc import Sequence

# What finds the headers of tables among all lines, and rows that need none; ``metric_tables.py`` finds the rows.
TABLE_HEADERS = (
    r"(?:[tT]rain(?:ing)?|[vV]alidation|[eE]val)[ _][lL]oss {0,40}(?:\||\t|</th>|\r|\n)",
    r"(?:[sS]tep|[eE]poch|[iI]ter(?:ation)?)[,\t][\w/. ,\t-]{0,80}(?:[lL]oss|[pP]pl|[pP]erplexity)[,\t\r\n]",
    r"\n\d{1,9} (?:train|val) \d{1,3}\.\d",
)

# (pattern number, end offset), as the scan reports them.
Hits = Sequence[tuple[int, int]]

_NUMBER = r"['\"]?(?:tensor\(|np\.float\d\d\()?[-+]?[\dniNI.]"
_LOSS_TAIL = (
    r"(?:[_/ ](?:step|epoch|avg|mean|total|value|train(?:ing)?|train/total|val(?:id|idation)?|eval|test|policy_avg))?"
)

METRIC_PATTERNS = (
    rf"[lL](?:oss|OSS){_LOSS_TAIL}['\"]?[ \t:=]+{_NUMBER}",
    r"[lL]osses['\"]?[ \t:=]+\[[-+]?\d",  # of all workers: shows that training goes on
    rf"[cC]ross[eE]ntropy(?:Loss)?['\"]?[ \t:=]+{_NUMBER}",
    rf"(?:[pP]pl|PPL|[pP]erplexity)(?:[_/](?:train|val|valid|eval|test))?['\"]?[ \t:=]+{_NUMBER}",
    r"iteration {1,16}\d",  # Megatron leaves the loss out where it is NaN
    r"\[(?:step|batch)=\d",
    rf"\bt[re]l:{_NUMBER}",
    r"\bTrial \d{1,6} finished with value",  # of a study, which goes on
    r"Attempted loss scale: [\d.]+, (?:but|reducing to) \d",
    *TABLE_HEADERS,
    r"\b(?:[eE]val(?:uation)?|EVAL|[vV]al(?:id|idation)?|VAL|[tT]est(?:ing)?|TEST)"
    r"(?:[ _](?:set|metrics|results?|stats|summary))?(?: [\w\[/]{1,16}){0,2}\]? {0,2}(?:[:|\])>]{1,2} |\*{3})"
    r"|Saving dict for global step \d{1,12}: ",
    r"\b(?:[sS]tage|[pP]hase|[tT]ask|[lL]esson|STAGE|PHASE|TASK|[cC]urriculum(?: stage| phase| level)?)[ #:]{1,3}\d{1,2}\b",
    r"[rR]esum(?:ing|ed) (?:training )?from|[cC]ontinuing training from|[lL]oaded checkpoint|[rR]estoring (?:states )?from",
)
RESUME = len(METRIC_PATTERNS) - 1
STAGE = RESUME - 1
EVALUATION = STAGE - 1
TABLES = range(EVALUATION - len(TABLE_HEADERS), EVALUATION)
# What is no metric itself, so that training need not go on where it stands.
HEADINGS = frozenset({STAGE, EVALUATION, *TABLES})

_FOUND = re.compile("|".join(f"({pattern})" for pattern in METRIC_PATTERNS).encode())


def metric_hits(data: bytes) -> list[tuple[int, int]]:
    """What the scan would report for METRIC_PATTERNS; for texts too short to be worth a scan."""
    return [((found.lastindex or 1) - 1, found.end()) for found in _FOUND.finditer(data)]
