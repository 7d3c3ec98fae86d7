"""Records of the past in today's shape: one pure function per step from a schema version to the next.

Records are migrated when they are read, and never rewritten: their files, names and ids stay as they are. So a step
leaves alone what :meth:`bench.record.RunRecord.identity` hashes; a step that does not is caught when the record is
read, because its id no longer is its file's name. Whoever changes the shape of a record raises ``SCHEMA_VERSION``,
adds a step here, and puts a record of the version before into the tests.

Version 1 was written in four shapes. It came without ``protocol.baselines`` and ``method.feature_dtype``, always with
a data set; then costs, which read no images, had null for it; then each of the two fields was added. Other fields were
not refused by name alone, so an old bench called a newer record broken instead of newer. From version 2 on, a number
means one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Step = Callable[[Json], Json]


class MigrationError(ValueError):
    """A record that is not of the version that it claims."""


def from_1_to_2(record: Json) -> Json:
    """Fields that came while the number stayed 1 get the value that they had before there was a choice."""
    return {
        **record,
        "schema_version": 2,
        "method": {"feature_dtype": "float32", **record["method"]},
        "protocol": {"baselines": [], **record["protocol"]},
    }


STEPS: Mapping[int, Step] = {1: from_1_to_2}
"""Version -> the step to the next one."""


def migrated(record: Json, target: int, steps: Mapping[int, Step] | None = None) -> Json:
    """The content of a record's file as version ``target`` would have written it; ``record`` is left alone.

    Args:
        record: With a ``schema_version`` that is at most ``target``.
        steps: None: ``STEPS``.

    Raises:
        MigrationError: where the record's version was never written, or it has not the shape of its version.
    """
    steps = STEPS if steps is None else steps
    while (version := record["schema_version"]) != target:
        if version not in steps:
            raise MigrationError(
                f"schema version {version} was never written: the known ones are {_known(steps)}"
            )
        try:
            record = steps[version](record)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise MigrationError(
                f"not the shape of schema version {version}, which it claims to have: {type(error).__name__}: {error}"
            ) from error
    return record


def _known(steps: Mapping[int, Step]) -> str:
    return " and ".join(str(version) for version in sorted({*steps, *(version + 1 for version in steps)}))
