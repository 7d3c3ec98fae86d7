"""Checks of what a method says about itself: its names, options, presets and variants."""

from __future__ import annotations

import enum
from typing import Any, Literal, get_args, get_origin
from unittest import SkipTest

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from bench.method import Method, MethodOptions, Preset, Recipe
from bench.options import build_options
from bench.testing.subject import ConformanceError, Subject, require

_UNKNOWN = "an_option_that_nobody_has"


def description(subject: Subject) -> None:
    """A method names itself, sums itself up in one line, cites its paper, and its default and shipped presets exist."""
    method = subject.method
    for attribute in ("name", "summary", "reference"):
        text = getattr(method, attribute, None)
        require(
            isinstance(text, str) and bool(text.strip()) and "\n" not in text,
            got=f"{attribute} = {text!r}",
            expected="one line of text",
            remedy=f"set the class attribute {attribute!r}",
        )
    require(
        not method.presets or "paper" in method.presets,
        got=f"presets {', '.join(method.presets)}",
        expected="a preset 'paper' among them, since the method trains",
        remedy='add "paper": Preset(...); it needs no overrides where the defaults are the paper\'s',
    )
    require(
        method.default_preset is None or method.default_preset in method.presets,
        got=f"default_preset = {method.default_preset!r}",
        expected=f"None or one of the presets: {', '.join(method.presets) or 'there are none'}",
        remedy="name an existing preset",
    )
    require(
        set(method.shipped_presets) <= method.presets.keys(),
        got=f"shipped_presets = {method.shipped_presets!r}",
        expected=f"names of presets: {', '.join(method.presets) or 'there are none'}",
        remedy="name existing presets, from which the shipped weights can be trained again",
    )


def options_documented(subject: Subject) -> None:
    """Every option says what it does, in its description or by its choices; a recipe says where it comes from."""
    method = subject.method
    for model, base in ((method.Options, MethodOptions), (method.Recipe, Recipe)):
        require(
            issubclass(model, base),
            got=f"{model.__name__}, which is no {base.__name__}",
            expected=f"a subclass of bench.method.{base.__name__}",
            remedy="derive it, so that unknown names are errors and values immutable",
        )
        own = [name for name in model.model_fields if name not in base.model_fields]
        documented = bool((model.__dict__.get("__doc__") or "").strip())
        require(
            documented or not own,
            got=f"{model.__name__} without a docstring",
            expected="a docstring that says what its values describe and where its defaults come from",
            remedy="write one",
        )
        silent = [name for name in own if not _explains_itself(model.model_fields[name])]
        require(
            model is method.Recipe or not silent,
            got=f"{model.__name__} says nothing about {', '.join(silent)}",
            expected="a description of every option that is not a choice of named values",
            remedy="declare it as Field(default=..., description=...); `bench show` prints it",
        )


def options_valid(subject: Subject) -> None:
    """Defaults satisfy their own constraints, survive JSON, cannot be changed, and unknown names are refused."""
    for model in (subject.method.Options, subject.method.Recipe):
        defaults = model()
        try:
            again = model.model_validate_json(defaults.model_dump_json())
        except ValidationError as error:
            raise ConformanceError(
                f"the defaults of {model.__name__} are refused when read back from JSON: {error}",
                "defaults that are valid, and types that survive JSON: a weights file stores them so",
                "correct the default or its constraint",
            ) from error
        require(
            again == defaults,
            got=f"{model.__name__} {again} after a round trip through JSON",
            expected=str(defaults),
            remedy="use types that survive JSON: numbers, text, booleans, tuples of them",
        )
        require(
            _refused(model, {_UNKNOWN: 1}),
            got=f"{model.__name__} accepts the unknown option {_UNKNOWN!r}",
            expected="an error, so that no typing mistake goes unnoticed",
            remedy='leave extra="forbid" of the base class as it is',
        )
        require(
            bool(model.model_config.get("frozen")),
            got=f"{model.__name__} can be changed after it was built",
            expected="immutable values",
            remedy="leave frozen=True of the base class as it is",
        )


def presets_build(subject: Subject) -> None:
    """Every preset overrides options and recipe with valid values, and its network builds."""
    method = subject.method
    if not method.presets:
        raise SkipTest("the method has no presets")
    for name, preset in method.presets.items():
        _require_preset(method, preset, f"preset {name!r}")
        subject.build(options=method.Options(**preset.options))


def variants_build(subject: Subject) -> None:
    """Every variant is valid on top of every preset, and its network builds."""
    method = subject.method
    if not method.variants:
        raise SkipTest("the method has no variants")
    built: list[MethodOptions] = []
    for name, variant in method.variants.items():
        for preset_name, preset in (method.presets or {"the defaults": Preset("")}).items():
            combined = Preset(
                variant.summary,
                options={**preset.options, **variant.options},
                recipe={**preset.recipe, **variant.recipe},
            )
            _require_preset(method, combined, f"variant {name!r} on preset {preset_name!r}")
        # One network a variant, on the smallest preset: the others differ in widths.
        base = method.presets.get(method.default_preset or "", Preset(""))
        options = method.Options(**{**base.options, **variant.options})
        if options not in built:
            subject.build(options=options)
            built.append(options)


CHECKS = (description, options_documented, options_valid, presets_build, variants_build)


def _explains_itself(option: FieldInfo) -> bool:
    return bool(option.description) or _names_its_choices(option.annotation)


def _names_its_choices(annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return True
    if isinstance(annotation, type):
        return issubclass(annotation, enum.Enum)
    members = get_args(annotation)
    return bool(members) and all(_names_its_choices(m) for m in members if m is not type(None))


def _refused(model: type[MethodOptions] | type[Recipe], values: dict[str, Any]) -> bool:
    try:
        model.model_validate(values)
    except ValidationError:
        return True
    return False


def _require_preset(method: type[Method], preset: Preset, what: str) -> None:
    require(
        bool(preset.summary.strip()),
        got=f"{what} without a summary",
        expected="one line: which network, how long it trains on what",
        remedy="give Preset a summary",
    )
    # Wrong names and values end as BenchError, which says what is known.
    build_options(method.Options, preset.options, f"options of {what}")
    build_options(method.Recipe, preset.recipe, f"recipe of {what}")
