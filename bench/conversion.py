"""Checkpoints of other code -> a network of bench, filled exactly.

A method says in which layouts its official repository saves (``Method.checkpoint_formats``). Here a file's layout is
recognised (the first that fits), its tensors get bench's names, several files are merged, and the network that
results has to be filled to the last tensor: what lacks or is left over is an error that names it, and what a format
leaves out on purpose is reported with its reason.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.features import FeatureExtractor
from bench.foreign import ForeignFile, read_foreign, tensors_of
from bench.method import CheckpointFormat, Method, Translation
from bench.opening import resolve_options
from bench.weights import Weights, describes_itself, read_weights, save_weights

_LISTED = 5
_COUNTER = ".num_batches_tracked"


@dataclass(frozen=True, eq=False)
class Part:
    """One file and what it gives."""

    file: ForeignFile
    format: CheckpointFormat
    translation: Translation


@dataclass(frozen=True, eq=False)
class Conversion:
    """A network filled from files of other code.

    Attributes:
        options: Resolved architecture: what the files tell, and the user's on top.
        unread: Tensors of the files that this network, with these options, does not read.
        counters: Batch counters that the files lack, as those of torch before 0.4.1 do; they stay at zero, and
            nothing but training reads them.
    """

    method: str
    options: Any
    network: FeatureExtractor
    parts: tuple[Part, ...]
    unread: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()

    @property
    def weights(self) -> Weights:
        digests = [part.file.sha256 for part in self.parts]
        joined = hashlib.sha256("".join(digests).encode()).hexdigest()
        return Weights(
            path=self.parts[0].file.path,
            sha256=digests[0] if len(digests) == 1 else joined,
            method=self.method,
            options=self.options.model_dump(mode="json"),
            provenance=self.provenance,
            tensors=self.network.state_dict(),
        )

    @property
    def provenance(self) -> dict[str, Any]:
        return {
            "preset": "released",
            "format": " + ".join(dict.fromkeys(part.format.name for part in self.parts)),
            "files": {part.file.path.name: part.file.sha256 for part in self.parts},
        }

    def save(self, path: Path) -> None:
        save_weights(
            path,
            self.network,
            method=self.method,
            options=self.options.model_dump(mode="json"),
            provenance=self.provenance,
        )


def open_weights(path: Path, method: Method, method_options: Sequence[str] = ()) -> Weights:
    """Weights of a method from bench's own file or from one official checkpoint that fills the whole network.

    Raises:
        BenchError: as :func:`bench.weights.read_weights` and :func:`convert` say.
    """
    if not path.is_file() or not method.checkpoint_formats or describes_itself(path):
        return read_weights(path, method=method.name)
    return convert((path,), method, method_options).weights


def convert(paths: Sequence[Path], method: Method, method_options: Sequence[str] = ()) -> Conversion:
    """Read official checkpoints, and fill the method's network with them.

    Args:
        paths: One file, or several that together hold one network.
        method_options: ``key=value``, on top of what the files tell.

    Raises:
        BenchError: for a file that cannot be read or whose layout is not known, files that contradict one
            another, and a network that is not filled exactly.
    """
    for path in paths:
        if path.is_file() and describes_itself(path):
            raise BenchError(f"{path} was written by bench: there is nothing to convert")
    parts = tuple(translate(read_foreign(path), method) for path in paths)
    told = _merged([(part.file.path, part.translation.options) for part in parts], "option")
    tensors = _merged([(part.file.path, part.translation.tensors) for part in parts], "tensor")
    options = resolve_options(method.Options, method_options, f"method {method.name!r}", base=told)
    network = method.build(options)
    unread = tuple(sorted(name for name in tensors if name.startswith(network.unread)))
    read = {name: tensor for name, tensor in tensors.items() if not name.startswith(network.unread)}
    counters = _fill(network, read, parts, method, options)
    return Conversion(method.name, options, network, parts, unread, counters)


def recognise(file: ForeignFile, method: Method) -> CheckpointFormat | None:
    """The first of the method's formats that fits."""
    return next((known for known in method.checkpoint_formats if known.recognise(file.content)), None)


def translate(file: ForeignFile, method: Method) -> Part:
    """A file in bench's terms.

    Raises:
        BenchError: for a layout that the method does not read, and tensors that are not known in it.
    """
    if not method.checkpoint_formats:
        raise BenchError(f"method {method.name!r} reads no checkpoints of other code")
    found = recognise(file, method)
    if found is None:
        known = "".join(f"\n    {one.name}: {one.summary}" for one in method.checkpoint_formats)
        raise BenchError(
            f"{file.path} has none of the layouts that method {method.name!r} reads: "
            f"at its top it holds {_some(file.content)}",
            hint=f"The layouts are:{known}",
        )
    try:
        translation = found.translate(file.content)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise BenchError(
            f"{file.path} has the layout {found.name!r}, but not all that belongs to it: "
            f"{type(error).__name__}: {error}"
        ) from error
    unmatched = _left_over(file, translation)
    if unmatched:
        raise BenchError(
            f"{file.path} has the layout {found.name!r}, which does not know {_count(unmatched)} of it:"
            + _listing(unmatched, translation.tensors)
        )
    return Part(file, found, translation)


def _left_over(file: ForeignFile, translation: Translation) -> list[str]:
    """Tensors of the file that the translation neither takes nor explains."""
    # A tensor that is taken shares its storage with what it became, or was copied: then the values agree.
    storages = {tensor.untyped_storage().data_ptr() for tensor in translation.tensors.values()}
    unused = [_plain(name) for name in translation.unused]
    return [
        name
        for name, tensor in tensors_of(file.content).items()
        if tensor.untyped_storage().data_ptr() not in storages
        and not any(_within(_plain(name), known) for known in unused)
        and not any(_same(tensor, taken) for taken in translation.tensors.values())
    ]


def _merged(parts: Iterable[tuple[Path, Mapping[str, Any]]], what: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    origin: dict[str, Path] = {}
    for path, values in parts:
        for name, value in values.items():
            if name in merged and not _same(merged[name], value):
                shown = "" if isinstance(value, Tensor) else f" ({merged[name]!r} and {value!r})"
                raise BenchError(
                    f"{origin[name]} and {path} contradict each other on the {what} {name!r}{shown}",
                    hint="Give files of one and the same network.",
                )
            merged[name], origin[name] = value, path
    return merged


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and bool(torch.equal(first.to(second.dtype), second))
    return bool(first == second)


def _fill(
    network: FeatureExtractor, tensors: dict[str, Tensor], parts: Sequence[Part], method: Method, options: Any
) -> tuple[str, ...]:
    """Copy every tensor to its place; returns the counters that no file holds."""
    own = network.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    counters = [name for name in missing if name.endswith(_COUNTER)]
    missing = [name for name in missing if not name.endswith(_COUNTER)]
    extra = sorted(tensors.keys() - own.keys())
    wrong = [
        f"{name}: {tuple(tensors[name].shape)} in the file, {tuple(tensor.shape)} in the network"
        for name, tensor in own.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    problems = [
        f"{_count(names)} {what}:{_listing(names, others)}"
        for names, what, others in (
            (missing, "missing", extra),
            (extra, "without a place", missing),
            (wrong, "of another shape", ()),
        )
        if names
    ]
    files = " and ".join(str(part.file.path) for part in parts)
    if problems:
        several = (
            f"Does another file hold the rest? bench weights convert FILE FILE --method {method.name} "
            "--output OUT.safetensors. "
        )
        raise BenchError(
            f"{files} cannot fill the network of method {method.name!r} with options "
            f"{options.model_dump_json()}:" + "".join(f"\n  {problem}" for problem in problems),
            hint=(several if missing and not extra and not wrong else "")
            + "For other options: -M key=value.",
        )
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise BenchError(f"{files}: values that are not finite in {_count(broken)}:{_listing(broken, ())}")
    network.load_state_dict({**own, **tensors})
    return tuple(counters)


def _plain(name: str) -> str:
    """Without the ``module`` that torch's data parallelism puts into names."""
    return ".".join(word for word in name.split(".") if word != "module")


def _within(name: str, explained: str) -> bool:
    return f"{name}.".startswith(f"{explained}.") or name.endswith(f".{explained}")


def _count(tensors: Sequence[str]) -> str:
    return f"{len(tensors)} tensor{'' if len(tensors) == 1 else 's'}"


def _listing(names: Sequence[str], others: Iterable[str]) -> str:
    """Some of the names, each with what is near it on the other side."""
    known = list(others)
    lines = []
    for name in names[:_LISTED]:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        lines.append(f"\n    {name}" + (f"  (near: {near[0]})" if near else ""))
    more = len(names) - _LISTED
    return "".join(lines) + (f"\n    and {more} more" if more > 0 else "")


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(repr(name) for name in listed[:_LISTED])
    return (shown or "nothing") + (f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else "")
