"""What holds numbers and no metric that is known, so that a report can say what was not judged."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from doctor.points import Points
from doctor.traces.csv_metrics import read_csv
from doctor.traces.json_metrics import read_json_lines
from doctor.traces.run_folder import RULES

MOST_NAMED = 8
# So many rows of a table tell what its columns hold.
FIRST_ROWS = 50
_READERS = {".csv": read_csv, ".jsonl": read_json_lines}


def unread_logs(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The same for logs that count steps or epochs, and print beside them what is not known."""
    for path in paths:
        yield RULES, f"{path}: no metric was recognised, though its lines count steps or epochs"


def unread_tables(tables: Iterable[Path], points: Iterable[Points]) -> Iterator[tuple[str, str]]:
    """(RULES, why) for each table that holds numbers under names that are not known: of those that were read, and of those
    that only their names call tables."""
    heads = (_READERS[path.suffix](path, FIRST_ROWS) for path in tables if path.suffix in _READERS)
    for one in (*points, *heads):
        if not len(one) and one.unread:
            more = f" and {len(one.unread) - MOST_NAMED} more" if len(one.unread) > MOST_NAMED else ""
            yield RULES, f"{one.path}: no metric was recognised: columns {', '.join(one.unread[:MOST_NAMED])}{more}"
