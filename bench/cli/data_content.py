"""What ``bench data`` knows of a data set, as JSON has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import registry
from bench.data_checks import SplitCheck
from bench.data_requirements import RequirementCheck
from bench.landmarks import DatasetInfo, DatasetProvider, Requirement
from bench.opening import DatasetRequest, OpenedDataset
from bench.options import parse_dataset, parse_options


def unlocated(dataset: str, items: Sequence[str] | None) -> OpenedDataset | None:
    """A published set that was named without its location; None for all others."""
    name, location = parse_dataset(dataset)
    if location is not None:
        return None
    provider: DatasetProvider = registry.load("datasets", name)()
    request = DatasetRequest(dataset, tuple(items or ()))
    options = parse_options(provider.Options, list(request.options), f"data set {name!r}")
    if not provider.needs_location or not provider.requirements(options):
        return None
    return OpenedDataset(request, provider, None, options)


def announced(published: OpenedDataset) -> dict[str, Any]:
    """What is known of a published set before it is there."""
    provider, options = published.provider, published.options
    return {
        "name": provider.name,
        **({} if provider.info is None else _info_content(provider.info)),
        "options": options.model_dump(mode="json"),
        "files": [_requirement_content(item) for item in provider.requirements(options)],
    }


def described(
    opened: OpenedDataset, splits: Sequence[str], roles: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """What is in a data set."""
    parts = [opened.open(name) for name in splits]
    first = next((part for part in parts if part.schema.names), parts[0])
    schema = first.schema
    return {
        "name": first.name,
        **_info_content(first.info),
        "options": opened.options.model_dump(mode="json"),
        "landmarks": list(schema.names),
        "normaliser": None if schema.normaliser is None else [list(end) for end in schema.normaliser],
        "normaliser_name": schema.normaliser_name,
        "splits": [
            {
                "name": part.split,
                "roles": list(roles.get(part.split, ())),
                "images": len(part),
                "fingerprint": part.fingerprint,
            }
            for part in parts
        ],
        "files": [_requirement_content(item) for item in opened.provider.requirements(opened.options)],
    }


def file_content(check: RequirementCheck) -> dict[str, Any]:
    """What was found in the place of a requirement."""
    return {
        "path": check.requirement.path,
        "place": str(check.place),
        "what": check.requirement.what,
        "source": check.requirement.source,
        "state": check.state,
        "problems": check.problems,
    }


def split_content(check: SplitCheck) -> dict[str, Any]:
    """What was found in a split; null where the images were not read."""
    return {
        "name": check.split,
        "images": check.count,
        "annotated": check.annotated if check.read else None,
        "visible_landmarks": check.visible if check.read else None,
        "individuals": len(check.identities) if check.read else None,
        "problems": check.problems,
    }


def _info_content(info: DatasetInfo) -> dict[str, Any]:
    return {
        "title": info.title,
        "tier": info.tier,
        "category": info.category,
        "licence": info.licence,
        "citation": info.citation,
    }


def _requirement_content(item: Requirement) -> dict[str, Any]:
    return {
        "path": item.path,
        "what": item.what,
        "source": item.source,
        "kind": item.kind,
        "count": item.count,
        "optional": item.optional,
    }
