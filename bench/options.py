"""What a user types: ``NAME:LOCATION`` of a data set, and ``key=value`` options of any component."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from bench.errors import BenchError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)

_PLAIN_TYPES: dict[Any, str] = {
    str: "text",
    bool: "true | false",
    int: "integer",
    float: "number",
    types.NoneType: "null",
}


@dataclass(frozen=True)
class OptionSummary:
    """One option, as a person reads it; ``default`` is None where the option must be given."""

    name: str
    type: str
    default: str | None
    description: str

    def __str__(self) -> str:
        return f"{self.name}: {self.type}" + ("" if self.default is None else f" = {self.default}")


def parse_dataset(text: str) -> tuple[str, str | None]:
    """Split ``NAME`` or ``NAME:LOCATION`` at the first colon; a location may hold colons (``C:\\faces``).

    Raises:
        BenchError: where the name is empty, or a colon is followed by nothing.
    """
    name, colon, location = text.strip().partition(":")
    if not name or (colon and not location.strip()):
        raise BenchError(
            f"data set {text!r} is neither NAME nor NAME:LOCATION",
            hint="For example: synthetic-faces, or coco:path/to/folder.",
        )
    return name, location.strip() or None


def parse_options(model: type[Model], items: Sequence[str], what: str) -> Model:
    """Build a component's options from ``key=value`` texts.

    A value is read as JSON where it is JSON (``5``, ``true``, ``[36, 45]``) and as text where it is not
    (``all``); an option that wants text gets the text as it was typed (``train=2020``).

    Args:
        what: Whose options they are, as the message names them, e.g. ``data set 'coco'``.

    Raises:
        BenchError: names an item that is not ``key=value``, a key that is unknown or given twice, or a value
            of the wrong type.
    """
    texts: dict[str, str] = {}
    for item in items:
        key, equals, text = item.partition("=")
        key = key.strip()
        if not equals or not key:
            raise BenchError(f"option {item!r} of {what} is not of the form key=value")
        if key in texts:
            raise BenchError(f"option {key!r} of {what} is given twice: {texts[key]!r} and {text.strip()!r}")
        texts[key] = text.strip()
    values = {key: _value(text) for key, text in texts.items()}
    try:
        built = model.model_validate(values)
    except ValidationError as error:
        as_typed = {key: texts[key] for key in _wanting_text(error) if key in texts}
        if not as_typed:
            raise _explained(error, model, what) from error
        built = build_options(model, values | as_typed, what)
    for key, text in texts.items():
        value = getattr(built, key)
        if isinstance(value, float) and not math.isfinite(value):
            raise BenchError(f"option {key}={text} of {what} is not a finite number")
    return built


def build_options(model: type[Model], values: Mapping[str, Any], what: str) -> Model:
    """Build options from Python values (a preset, a record); messages as of :func:`parse_options`."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _explained(error, model, what) from error


def summarise_options(model: type[BaseModel]) -> tuple[OptionSummary, ...]:
    """Every option of ``model``: name, type, default and description."""
    summaries = []
    for name, option in model.model_fields.items():
        default = (
            option.get_default(call_default_factory=True) if not option.is_required() else PydanticUndefined
        )
        shown = None if default is PydanticUndefined else _literal(default)
        summaries.append(OptionSummary(name, _type_text(option.annotation), shown, option.description or ""))
    return tuple(summaries)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _literal(value: Any) -> str:
    """A default the way a user would type it."""
    if isinstance(value, str):
        return value if value else '""'
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    return json.dumps(value, default=str)


def _wanting_text(error: ValidationError) -> set[str]:
    """Options that were read as JSON (a number, say) although they want text."""
    return {
        str(e["loc"][0])
        for e in error.errors()
        if e["type"] == "string_type" and not isinstance(e["input"], str)
    }


def _explained(error: ValidationError, model: type[BaseModel], what: str) -> BenchError:
    known = summarise_options(model)
    names = [option.name for option in known]
    unknown = [e for e in error.errors() if e["type"] == "extra_forbidden"]
    if unknown:
        key = str(unknown[0]["loc"][-1])
        if not names:
            return BenchError(f"{what} has no option {key!r}: it has no options")
        listing = "".join(f"\n    {option}" for option in known)
        near = did_you_mean(key, names).split(" Known:")[0] if len(unknown[0]["loc"]) == 1 else ""
        near = "" if near.startswith("Known") else near + " "
        return BenchError(f"{what} has no option {key!r}", hint=f"{near}Its options are:{listing}")
    details = error.errors(include_url=False)
    fields = {option.name: option for option in known}
    first = details[0]
    top = str(first["loc"][0]) if first["loc"] else ""
    # A union fails once per member; the reasons are read together.
    reasons = list(dict.fromkeys(_reason(e) for e in details if not top or str(e["loc"][0]) == top))
    message = f"{what}: " + (f"option {top!r} " if top else "") + "; or ".join(reasons)
    option = fields.get(top)
    hint = None
    if option is not None:
        hint = f"{option}" + (f"  ({option.description})" if option.description else "")
    return BenchError(message, hint=hint)


def _reason(detail: ErrorDetails) -> str:
    message = detail["msg"]
    if detail["type"] == "missing":
        return "is required and was not given"
    if detail["type"] == "value_error":
        return message.removeprefix("Value error, ")
    words = message[0].lower() + message[1:]
    if words.startswith("input should be"):
        words = "should be" + words.removeprefix("input should be")
    return f"{words}, got {detail['input']!r}"


def _type_text(annotation: Any) -> str:
    """How a person reads a type: ``integer | all``, ``[number, ...]``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    inner = [_type_text(argument) for argument in arguments if argument is not Ellipsis]
    if origin is Annotated:
        text = inner[0]
    elif origin in (Union, types.UnionType):
        text = " | ".join(inner)
    elif origin in (list, set, frozenset) or (origin is tuple and Ellipsis in arguments):
        text = f"[{inner[0]}, ...]"
    elif origin is tuple:
        text = f"[{', '.join(inner)}]"
    else:
        text = _PLAIN_TYPES.get(annotation) or str(getattr(annotation, "__name__", annotation))
    return text
