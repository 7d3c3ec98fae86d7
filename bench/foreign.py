"""Reading checkpoints of other code: what their files hold, with nothing of that code imported or run.

A ``.pth`` file is a pickle, and a pickle names functions and classes to be called. Here only
``torch.load(weights_only=True)`` reads it, whose allow-list knows tensors and plain data. Official checkpoints also
hold an ``argparse.Namespace``, a configuration object of a module that no longer exists, a logger: every name that
torch does not allow is therefore bound to an inert stand-in before the file is read.
"""

from __future__ import annotations

import hashlib
import pickle
import pickletools
import tarfile
import warnings
import zipfile
import zlib

# Protocol 2, which torch.save writes, spells some of Python 3's modules as Python 2 did.
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, ClassVar

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from bench.errors import BenchError
from bench.file_kinds import is_web_page

# A legacy file is a row of pickles: magic number, version, machine, content, keys of the storages; then raw bytes.
_LEGACY_PICKLES = 4


class Inert:
    """Stands where a file names a class or function that is no plain data: takes anything, does nothing."""

    source: ClassVar[str] = "unknown"

    def __new__(cls, *_args: object, **_named: object) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_args: object, **_named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"<{self.source}, not loaded>"


@dataclass(frozen=True, eq=False)
class ForeignFile:
    """A checkpoint of other code, read.

    Attributes:
        sha256: Of the file.
        content: What its top-level dict holds: tensors on the CPU, plain data, and :class:`Inert` for the rest.
        inert: Names of what was not loaded, e.g. ``argparse.Namespace``.
    """

    path: Path
    sha256: str
    content: Mapping[str, Any]
    inert: tuple[str, ...] = ()


def read_foreign(path: Path) -> ForeignFile:
    """Read a ``.pth`` file (zip or torch's older format) or a safetensors file, whoever wrote it.

    Raises:
        BenchError: no such file; not a checkpoint (and what it looks like instead); damaged; or naming something
            that is refused.
    """
    if not path.is_file():
        raise BenchError(f"no checkpoint at {path}", hint="Give the path of a file.")
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
            stream.seek(0)
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror or error}") from error
    if is_safetensors(path):
        return ForeignFile(path, sha256, _read_safetensors(path))
    _refuse_other_files(path, head)
    content = _unpickle(path, _stand_ins(path))
    if isinstance(content, Inert):
        raise BenchError(
            f"{path} holds a whole pickled object ({content.source}), whose code would have to be run to read it",
            hint="Save its state_dict() with the code that wrote it, and give that file.",
        )
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise BenchError(
            f"{path} holds a {type(content).__name__}, and a checkpoint is a dict with names as keys"
        )
    if any(t.layout != torch.strided or t.is_meta or t.is_quantized for t in tensors_of(content).values()):
        raise BenchError(f"{path} holds sparse, quantised or empty-shelled (meta) tensors, not plain ones")
    return ForeignFile(path, sha256, content, _sources_of_inert(content))


def is_safetensors(path: Path) -> bool:
    """Whether a file has safetensors' layout: the length of a JSON header, and its opening brace."""
    with path.open("rb") as stream:
        head = stream.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size


def tensors_of(content: Any) -> dict[str, Tensor]:
    """Every tensor within nested dicts, lists and tuples, by its dotted name."""
    return {name: value for name, value in _leaves(content) if isinstance(value, Tensor)}


def _leaves(content: Any) -> Iterator[tuple[str, Any]]:
    """What is in no container, with its dotted name. A container that occurs twice, or in itself, counts once."""
    waiting, seen = [("", content)], set[int]()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            items = list(value.items())
        elif isinstance(value, list | tuple):
            items = list(enumerate(value))
        else:
            yield name, value
            continue
        if id(value) not in seen:
            seen.add(id(value))
            waiting += [(f"{name}.{key}" if name else str(key), item) for key, item in reversed(items)]


def _sources_of_inert(content: Any) -> tuple[str, ...]:
    kinds = (value if isinstance(value, type) else type(value) for _, value in _leaves(content))
    return tuple(sorted({kind.source for kind in kinds if issubclass(kind, Inert)}))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise BenchError(f"{path} is a damaged safetensors file: {error}") from error


def _refuse_other_files(path: Path, head: bytes) -> None:
    """Files that are often met under a checkpoint's name, each with what to do about it."""
    if not head:
        raise BenchError(f"{path} is empty", hint="The download may have failed.")
    if is_web_page(head):
        raise BenchError(
            f"{path} is a web page, not a checkpoint",
            hint="The download ended at a page that asks for a login or a confirmation; fetch it in a browser.",
        )
    if head.startswith(b"version https://git-lfs"):
        raise BenchError(f"{path} is a pointer of Git LFS, not the file itself", hint="Run: git lfs pull")
    if zipfile.is_zipfile(path):
        _pickle_name(path)
        _check_sums(path)
    elif head.startswith(b"PK\x03\x04"):
        raise BenchError(f"{path} was cut short: its end is missing", hint="Download it again.")
    elif head.startswith(b"\x1f\x8b") or tarfile.is_tarfile(path):
        raise BenchError(
            f"{path} is a tar or gzip archive",
            hint="Unpack it and give the file inside; checkpoints of torch before 0.2 have to be saved anew.",
        )


def _pickle_name(path: Path) -> str:
    """The member of a zip-format checkpoint that holds its pickle."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise BenchError(f"{path} is a damaged zip file: {error}") from error
    found = [name for name in members if name.endswith("/data.pkl")]
    if any(name.endswith("/constants.pkl") for name in members):
        raise BenchError(f"{path} is a TorchScript program, which holds code; give a checkpoint of weights")
    if len(found) != 1:
        some = ", ".join(members[:3])
        raise BenchError(
            f"{path} is a zip archive, but no checkpoint of torch (it holds {some or 'nothing'})",
            hint="Unpack it and give the checkpoint inside.",
        )
    return found[0]


def _check_sums(path: Path) -> None:
    """Compare every member with its checksum, which torch does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, OSError, RuntimeError, zlib.error) as error:
        raise BenchError(f"{path} is a damaged zip file: {error}") from error
    if broken is not None:
        raise BenchError(
            f"{path} is damaged: {broken} in it does not agree with its checksum", hint="Download it again."
        )


def _stand_ins(path: Path) -> dict[str, type[Inert]]:
    """An inert class for every global that the file's pickles name; torch prefers what it knows itself."""
    try:
        names = _global_names(path)
    except Exception as error:  # the bytes may be anything, and the disassembler fails in many ways
        raise _unreadable(path, error) from error
    return {name: type(name, (Inert,), {"source": name}) for name in names}


def _global_names(path: Path) -> set[str]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return _globals_of(BytesIO(archive.read(_pickle_name(path))))
    with path.open("rb") as stream:
        return set().union(*(_globals_of(stream) for _ in range(_LEGACY_PICKLES)))


def _globals_of(stream: IO[bytes]) -> set[str]:
    """``module.name`` of every GLOBAL instruction of one pickle, in either spelling; nothing is run."""
    found: set[str] = set()
    for instruction, argument, _ in pickletools.genops(stream):
        if instruction.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            new = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
            found.update((f"{module}.{name}", ".".join(new)))
    return found


def _unpickle(path: Path, inert: Mapping[str, type[Inert]]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about its own older formats
        try:
            with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in inert.items()]):
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise BenchError(
                f"{path} cannot be read safely: {_first_line(error)}",
                hint="Only tensors, plain data and objects that can be left out are read. If you trust the file, "
                "save its state_dict() anew with the code that wrote it.",
            ) from error
        except Exception as error:  # the bytes may be anything, and torch's readers fail in many ways
            raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> BenchError:
    return BenchError(
        f"{path} is not a checkpoint that torch can read, or it is damaged: "
        f"{type(error).__name__}: {_first_line(error)}",
        hint="Compare its size with the source's, and download it again.",
    )


def _first_line(error: Exception) -> str:
    # torch wraps the reason in the advice to load unsafely, which is not followed here
    reason = error.__context__ if isinstance(error.__context__, pickle.UnpicklingError) else error
    lines = [line.strip() for line in str(reason).splitlines() if line.strip()]
    return lines[0].split(" Please use ")[0] if lines else "no reason given"
