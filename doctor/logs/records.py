"""A record: one clean line, or one whole traceback, and whether its words are somebody's failure at all."""

import re
from dataclasses import dataclass

_INSTALLED = re.compile(
    r"site-packages|dist-packages|/lib/python\d|\\[Ll]ib\\\w+\.py$|<frozen|^<string>|torch/distributed/run\.py"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One stack frame, as the traceback shows it."""

    path: str
    line: int
    function: str
    source: str = ""

    @property
    def package(self) -> str:
        """The installed package that the frame is in, or "your own code"."""
        found = re.search(r"(?:site|dist)-packages/(\w+)", self.path)
        return found[1] if found else "your own code"

    @property
    def is_installed(self) -> bool:
        """Whether the frame is in an installed package, Python's own library, or code that has no file."""
        return _INSTALLED.search(self.path) is not None

    @property
    def at(self) -> str:
        """The file and the line."""
        return f"{self.path}:{self.line}"

    def __str__(self) -> str:
        return f"{self.at} in {self.function}: {self.source}"


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception of a chain. ``line`` is the number of the line with its type and message, ``text`` both."""

    type: str
    text: str
    line: int
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One clean line (``chain`` is empty), or one traceback with its exceptions, the first that was raised first.

    ``ignored`` is whether Python says that it went on without it, or the program that it tries again. ``logged`` is whether a
    logger printed the traceback, so that somebody caught it.
    """

    path: str
    line: int
    last_line: int
    text: str
    rank: int | None
    host: str | None
    time: float | None
    chain: tuple[Raised, ...] = ()
    ignored: bool = False
    logged: bool = False


def spawned_rank(record: Record) -> int | None:
    """The process that torch.multiprocessing.spawn names as the one that failed: its number there is its rank."""
    raised = next((one for one in record.chain if _SPAWN.search(one.type)), None)
    found = _FAILED.search(raised.text) if raised else None
    return int(found[1]) if found else None


_SPAWN = re.compile(r"\bProcess(?:Raised|Exited)Exception$")
_FAILED = re.compile(r"\b[Pp]rocess (\d{1,6}) terminated with ")


def is_warning(text: str) -> bool:
    """Whether a line is what Python's warnings print: the program goes on behind it."""
    return _WARNING.match(text) is not None


_WARNING = re.compile(r"\S+\.py:\d+: \w*Warning: ")


def advises(text: str) -> bool:
    """Whether a line only gives advice; such lines name causes that nobody saw."""
    return _ADVICE.search(text) is not None


_ADVICE = re.compile(
    r"might be caused by|may be caused by|most likely (?:caused by|due to)|can be caused by|potential root causes?|"
    r"possible (?:causes|reasons)|if you (?:see|get|run into|encounter|hit)\b|consider (?:setting|passing|using|reducing)|"
    r"\btips?:|\bhint:|"
    r"For debugging consider passing CUDA_LAUNCH_BLOCKING|Compile with .?TORCH_USE_CUDA_DSA|HYDRA_FULL_ERROR|"
    r"To enable traceback see|\(1\).{1,300}\(2\).{1,300}\(3\)",
    re.IGNORECASE,
)

_SOURCE = re.compile(
    r"\s*(?:\d+\s+|>>> ?|[-+]\s{2,})?(?:raise \w|assert [^:]*,|if .*:$|elif .*:$|except .*:$|return |print\(|warnings\.warn\(|"
    r"(?:self\.)?(?:logger|logging|LOG|log)\.\w+\(|\w+ = [frb]?[\"']|[frb]?[\"'].*[\"'][,)]?$|#)"
)
_SAMPLE = re.compile(
    r"[\"'](?:text|content|prompt|prompts|completion|completions|messages|instruction|question|answer|response|chosen|rejected|"
    r"conversations)[\"']\s*:\s*(?:\[|[\"'])|"
    r"^\W{0,4}(?i:prompt|completion|question|answer|instruction|response|chosen|rejected|user|assistant|human|samples?|"
    r"examples?)(?: \d+)?\W{0,4}: "
)


def quotes(text: str) -> bool:
    """Whether a line is source code or a training sample, in which an error's text is only quoted."""
    return _SOURCE.match(text) is not None or _SAMPLE.search(text) is not None
