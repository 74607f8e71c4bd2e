"""Where the signatures are: bundled with doctor, in the user's folder, and in folders given by --signatures."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from doctor.errors import SignatureError
from doctor.signature import Match, Signature, parse

SUFFIX = ".toml"


@dataclass(frozen=True, slots=True)
class SignatureFile:
    """A signature as it lies on disk. Its prose is parsed only when somebody asks for it."""

    id: str
    where: str
    text: str


@dataclass(frozen=True)
class Catalog:
    """All signature files of a run, by id. ``digest`` is equal for equal contents."""

    files: Mapping[str, SignatureFile]
    digest: str
    _parsed: dict[str, Signature] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.files)

    def __contains__(self, id: object) -> bool:
        return id in self.files

    def signature(self, id: str) -> Signature:
        """One signature, parsed; SignatureError if its file is faulty."""
        if id not in self._parsed:
            file = self.files[id]
            self._parsed[id] = parse(file.text, file.id, file.where)
        return self._parsed[id]

    def named(self, id: str) -> Signature:
        """The same for an id that a person typed: SignatureError names the nearest one."""
        if id not in self.files:
            near = get_close_matches(id, list(self.files), n=1) or [one for one in self.files if one.endswith(f"/{id}")]
            hint = f'did you mean "{near[0]}"?' if near else "doctor signatures list shows all"
            raise SignatureError(f"{id}: no such signature; {hint}")
        return self.signature(id)

    def of_kind(self, kind: type[Match]) -> list[Signature]:
        """The signatures that match this kind of thing, in the order of their ids; files without its table are not parsed."""
        table = f"[{kind.__name__.lower()}]"
        found = (self.signature(id) for id, file in self.files.items() if table in file.text)
        return [one for one in found if isinstance(one.match, kind)]

    def signatures(self) -> list[Signature]:
        """All signatures in the order of their ids."""
        return [self.signature(id) for id in self.files]


def load(folders: tuple[Path, ...] = ()) -> Catalog:
    """The bundled signatures, then the user's, then those of these folders; a later one replaces an earlier of its id."""
    found: dict[str, SignatureFile] = {}
    own = _files(user_folder()) if user_folder().is_dir() else ()
    for part in (read_folder(bundled()), own, *map(read_folder, folders)):
        found.update((file.id, file) for file in part)
    return catalog_of(found.values())


def catalog_of(found: Iterable[SignatureFile]) -> Catalog:
    """A catalog of these files, in the order of their ids."""
    ordered = sorted(found, key=lambda file: file.id)
    digest = hashlib.sha256()
    for file in ordered:
        digest.update(f"{file.id}\0{file.text}\0".encode())
    return Catalog({file.id: file for file in ordered}, digest.hexdigest())


def read_folder(folder: Path) -> list[SignatureFile]:
    """The files FAMILY/NAME.toml of a folder; SignatureError if there is no such folder or nothing in it."""
    if not folder.is_dir():
        raise SignatureError(f"{folder}: no such folder; give the folder that holds FAMILY/NAME{SUFFIX}")
    found = list(_files(folder))
    if not found:
        raise SignatureError(f"{folder}: no signatures in it; they lie in FAMILY/NAME{SUFFIX}")
    return found


def _files(folder: Path) -> Iterator[SignatureFile]:
    """Read by hand: with pathlib a cold start takes 10 ms longer."""
    for family in list(os.scandir(folder)):
        for file in list(os.scandir(family.path)) if family.is_dir() else []:
            if file.name.endswith(SUFFIX) and not file.name.startswith("."):
                id, where = f"{family.name}/{file.name.removesuffix(SUFFIX)}", f"{family.name}/{file.name}"
                yield SignatureFile(id, where, _text(file.path, where))


def _text(path: str, where: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode()
    except UnicodeDecodeError:
        raise SignatureError(f"{where}: not UTF-8, which TOML has to be; save it as UTF-8") from None
    except OSError as fault:
        raise SignatureError(
            f"{where}: can't be read: {fault.strerror}; check its permissions or take it out"
        ) from None


def bundled() -> Path:
    """The signatures that come with doctor: inside it once installed, beside it in a checkout."""
    installed = Path(__file__).with_name("signatures")
    return installed if installed.is_dir() else Path(__file__).parents[1] / "signatures"


def user_folder() -> Path:
    """The user's own signatures."""
    from platformdirs import user_config_path

    return user_config_path("doctor") / "signatures"
