"""What a report may not show: secrets, people, machines. Each becomes a pseudonym that stays the same within a report."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from doctor.finding import Finding
from doctor.report import Report

T = TypeVar("T")

_QUOTE = r"[\"'`]?"

# Kind, and a pattern whose group "secret" (or the whole match) is replaced. Lengths are those that the issuers document.
_SECRETS: tuple[tuple[str, str], ...] = (
    ("key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"),
    ("token", r"\b(?:hf|api_org)_[A-Za-z0-9]{20,}"),
    ("token", r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"),
    ("token", r"\bsk-(?:proj-|ant-|or-|live-)?[A-Za-z0-9_-]{16,}"),
    (
        "token",
        r"\bxox[abprs]-[A-Za-z0-9-]{10,}|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{30,}|\bnvapi-[\w-]{20,}|\bdapi[0-9a-f]{32}",
    ),
    ("token", r"\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}"),
    ("key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    ("token", r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"),
    ("token", r"(?i)\bbearer\s+(?P<secret>[A-Za-z0-9._~+/=-]{8,})"),
    ("login", r"\b[a-zA-Z][a-zA-Z0-9+.-]*://(?P<secret>[^\s/@\"'<>]*:[^\s/@\"'<>]*)@"),
    (
        "secret",
        r"(?i)(?<![a-z])(?:(?:hf|hub|auth|access|api|secret|wandb|github|gitlab|openai|session|refresh|bearer|aws|azure|s3|db|my|user)[_-]){0,3}"
        r"(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|authorization)"
        rf"(?:[_-](?:id|key|value))?{_QUOTE}\s*(?:=|:\s|:(?=[\"']))\s*{_QUOTE}"
        r"(?!<|(?:none|null|true|false|str|required|missing|invalid|\d+)\b|[a-z_]+\.[a-z_]+\b)(?P<secret>[^\s\"'`,;)}\]<>]{6,})",
    ),
    ("key", r"(?i:wandb|api.?key).{0,60}?(?<![0-9a-f])(?P<secret>[0-9a-f]{40})(?![0-9a-f])"),
    ("email", r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b"),
)

_USER_PATHS = (
    r"/home/[A-Z][A-Z\d_-]+/(?P<secret>[a-z][\w.-]{1,31})(?=/)",  # below a group's folder
    r"(?:/home/|/Users/|/mnt/beegfs/home/|/data/home/|/gpfs/home/|/lustre/home/|/scratch/users?/|/nfs/home/|/workspace/users/)(?P<secret>[^/\s\"':,;<>()]+)",
    r"(?i)[A-Z]:\\{1,2}Users\\{1,2}(?P<secret>[^\\\s\"':,;<>]+)",
)

# Folders below a shared disk that belong to nobody: names of what lies there, projects, jobs.
_NOBODY = (
    r"(?:data(?:sets?)?|train(?:ing)?|valid(?:ation)?|eval|tests?|te?mp|models?|checkpoints?|ckpts?|weights|shared?|public|common|"
    r"global|local|all|groups?|proj(?:ects?)?|cache|hf|huggingface|tokens|corpus|corpora|runs?|outputs?|out|results|logs?|"
    r"experiments?|work(?:space)?|software|apps?|opt|env|envs|home|users?|scratch|nobackup|jobs?|slurm|\$\w+)\b(?![-_]?[a-z])|"
    r"(?:project|proj|job|slurm|grp|group)[-_]?\w*\d|\d"
)
# Personal folders by convention, where nothing else tells the name: below a disk's homes, and of its scratch space.
_PERSONAL = (
    rf"(?<![\w./-])(?:/[\w.-]{{1,30}}){{0,3}}/(?:home\d{{0,2}}|users?|u)/(?!{_NOBODY})(?P<secret>[A-Za-z][\w.-]{{1,31}})(?=/)",
    rf"(?<![\w.-])(?:/(?:gpfs|lustre|beegfs|nfs|mnt|exports/[\w-]+))?/scratch\d?/(?!{_NOBODY})(?P<secret>[a-z][\w.-]{{2,31}})(?=/)",
    rf"(?<![\w.-])/work/pi_[\w-]+/(?!{_NOBODY})(?P<secret>[a-z][\w.-]{{2,31}})(?=/)",
    r"(?<![\w.-])/work/pi_(?P<secret>[a-z][\w-]{2,31})(?=/)",
)

# Other words that tell a user's name.
_NAMED = (
    r"\bUSER(?:NAME)?=[\"']?(?P<secret>[a-z][\w.-]+)",
    r"(?<![\w.@/-])(?!git@)(?P<secret>[a-z][\w-]+)@[\w.-]+:(?=[~/])",
)

# Accounts in the addresses of trackers' runs, and how they say who is logged in.
_ACCOUNTS = (
    r"https?://(?:www\.)?wandb\.ai/(?!(?:authorize|site|home|settings|login|quickstart|fully-connected)\b)(?P<secret>[\w.-]+)",
    r"https?://(?:www\.)?(?:comet\.(?:com|ml)|app\.neptune\.ai(?:/o)?|swanlab\.cn)/@?(?P<secret>[\w.-]+)(?=/)",
    r"wandb: Currently logged in as:? (?P<secret>[\w.@-]+)",
)

_IP = r"(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w-]|\.\d)"
_IP6 = r"(?<![\w:])(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F]{1,4}(?![\w:])|(?<![\w:])fe80::[0-9a-fA-F:]+"
_VERSION_BEFORE = re.compile(r"(?i)(?:version|cudnn|nccl|cuda|driver|==|>=|<=|\bv)\s*[:=]?\s*$")
_KEPT = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "255.255.255.255", "root", "user", "runner", "ubuntu", "None"})

# name.ext:1234 is a line of a source or log file, not a port of a host; a name with more dots may be one.
_NO_FILE = r"(?![\w-]*\.(?:pyx?|cc?|cpp|cxx|cuh?|h(?:pp)?|go|[jt]s|java|ipynb|log|txt|out|err|jsonl?|toml|ya?ml):)"

_HOSTS = (
    r"\bip-\d{1,3}-\d{1,3}-\d{1,3}-\d{1,3}(?:\.[\w.-]+\w)?",
    r"\b[A-Za-z0-9][\w-]*(?:\.[\w-]+)*\.(?:internal|local|lan|corp|cluster|localdomain|svc)\b(?:\.[\w-]+)*",
    r"(?i)\bhost(?:name)?\s*[:=]\s*[\"']?(?P<secret>[A-Za-z0-9][\w.-]*)",
    r"\[(?P<secret>[A-Za-z][\w.-]*)\]:\d{2,5}\b",
    rf"(?<![\w./-]){_NO_FILE}(?P<secret>[A-Za-z][A-Za-z0-9-]*\d[\w.-]*|[A-Za-z][\w-]*(?:\.[A-Za-z][\w-]*)+):\d{{4,5}}\b",
    r"srun: error: (?P<secret>[A-Za-z][\w.-]*)(?=: )",
    r"\b(?:JOB|STEP) \S{1,40} ON (?P<secret>[A-Za-z][\w.-]*) CANCELLED",
)


class Redactor:
    """Replaces what may not be shown. The same thing gets the same pseudonym, in the order in which things are met."""

    def __init__(self, hosts: Iterable[str] = (), users: Iterable[str] = ()) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._users = sorted({user for user in users if _is_person(user)}, key=len, reverse=True)
        self._hosts = sorted({host for host in hosts if _tells(host)}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """A text without secrets, people and machines."""
        for kind, pattern in _SECRETS:
            text = self._each(kind, pattern, text)
        for pattern in (*_USER_PATHS, *_ACCOUNTS, *_PERSONAL):
            text = self._each("user", pattern, text)
        for user in self._users:
            text = re.sub(
                rf"(?<=/){re.escape(user)}(?=[/\s\"':,;)]|$)", lambda found: self._name("user", found[0]), text
            )
        for host in self._hosts:
            text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", lambda found: self._name("host", found[0]), text)
        for pattern in _HOSTS:
            text = self._each("host", pattern, text)
        return self._each("ip", _IP6, self._each("ip", _IP, text))

    def _each(self, kind: str, pattern: str, text: str) -> str:
        return re.sub(pattern, lambda found: self._replaced(kind, found), text)

    def _replaced(self, kind: str, found: re.Match[str]) -> str:
        groups = [value for name, value in found.groupdict().items() if value is not None]
        secret = groups[0] if groups else found[0]
        if secret in _KEPT or secret.startswith("<") or (kind == "ip" and _is_version(found)):
            return found[0]
        start = found[0].rindex(secret)
        return found[0][:start] + self._name(kind, secret) + found[0][start + len(secret) :]

    def _name(self, kind: str, secret: str) -> str:
        if (kind, secret) not in self._names:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._names[kind, secret] = f"<{kind}-{self._counts[kind]}>"
        return self._names[kind, secret]


def _is_version(found: re.Match[str]) -> bool:
    return _VERSION_BEFORE.search(found.string[max(0, found.start() - 24) : found.start()]) is not None


def _is_person(user: str) -> bool:
    """Whether the name of a home folder may be masked wherever a path has it: no common word for a folder."""
    return user not in _KEPT and len(user) > 2 and re.match(_NOBODY, user) is None


def _tells(host: str) -> bool:
    """Whether a host's name is more than a common word."""
    return host not in _KEPT and len(host) > 2 and any(not one.isalpha() for one in host)


# Fields that hold doctor's own words, public addresses, or a series of numbers.
_OWN = frozenset(
    {
        "id",
        "references",
        "explains",
        "explained_by",
        "fingerprint",
        "digest",
        "root",
        "kind",
        "state",
        "role",
        "severity",
        "steps",
        "values",
        "marks",
    }
)


def redacted(report: Report) -> tuple[Report, Redactor]:
    """The report without secrets, people and machines, and the redactor for the second pass over its finished text."""
    redactor = Redactor(_hosts(report.findings), _users(report))
    clean = _mapped(report, redactor.text)
    return replace(clean, redacted=True), redactor


def _hosts(findings: Iterable[Finding]) -> list[str]:
    return [host for host in (getattr(finding.place, "host", None) for finding in findings) if host]


def _users(report: Report) -> set[str]:
    """The users that any text of a report names by their home folder, or as the user that they are."""
    users = set[str]()

    def collect(text: str) -> str:
        users.update(found["secret"] for pattern in (*_USER_PATHS, *_NAMED) for found in re.finditer(pattern, text))
        return text

    _mapped(report, collect)
    return users


def _mapped(value: T, change: Callable[[str], str]) -> T:
    """The same value with every text in it changed."""
    result: Any = value
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.name not in _OWN]
        result = replace(value, **{name: _mapped(getattr(value, name), change) for name in names})
    elif type(result) is str:  # not a StrEnum
        result = change(result)
    elif isinstance(value, Mapping):
        result = {key: _mapped(one, change) for key, one in value.items()}
    elif isinstance(value, (tuple, list)):
        result = type(value)(_mapped(one, change) for one in value)
    return result  # type: ignore[no-any-return]
