"""One run, on disk: what was measured, by what, on what, and every number that came out.

A record's id is a hash of its *identity*: everything that could change its numbers. Its provenance (versions,
device, wall time) is stored beside the numbers and is not part of the identity.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Literal[2] = 2
"""Of the shape that is written. Older ones are migrated when they are read, see ``bench.migrations``."""

IDENTITY_VERSION = 1
"""Of what an id is the hash of. A new shape of records leaves it alone, so that old records keep their ids; raised,
it would orphan every record that was ever written."""

Integer = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""What other programs can read, too."""

Text = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]
"""What tables print: a control character could rewrite the reader's terminal."""

FeatureType = Literal["float32", "float16"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class MethodPart(_Part):
    """Which method, built how, with which weights."""

    name: Text
    options: dict[str, Any]
    weights_sha256: Text
    weights_label: Text = Field(description="One line: which weights, trained on what.")
    feature_dim: Integer
    feature_dtype: FeatureType = Field(default="float32", description="What features were rounded to.")

    def identity(self) -> dict[str, Any]:
        # Only where it is not the default: records from before there was a choice keep their ids.
        return self.model_dump(
            mode="json",
            include={"name", "options", "weights_sha256", "feature_dtype"},
            exclude_defaults=True,
        )


class ProtocolPart(_Part):
    """Which protocol, fully resolved."""

    name: Text
    version: Integer
    preset: Text
    options: dict[str, Any]
    baselines: list[Text] = Field(default=[], description="Methods without learning to compare with.")

    def identity(self) -> dict[str, Any]:
        return self.model_dump(mode="json", include={"name", "version", "options"})


class DatasetPart(_Part):
    """Which data, by content."""

    name: Text
    tier: Literal["procedural", "own", "published"]
    options: dict[str, Any]
    preprocessing: dict[str, Any]
    splits: dict[Text, Text] = Field(description="Role (train, validation, test) -> name of the split.")
    fingerprints: dict[Text, Text] = Field(description="Role -> fingerprint of the split's content.")
    counts: dict[Text, Integer] = Field(description="Role -> number of samples.")
    landmarks: Integer

    def identity(self) -> dict[str, Any]:
        # The fingerprints say what the data is; its name is that of a folder, which may move.
        return self.model_dump(mode="json", exclude={"counts", "name"})


class MetricPart(_Part):
    """One value with its declaration."""

    metric: Text
    condition: dict[Text, Text | Integer | float | bool]
    value: float
    low: float | None = None
    high: float | None = None
    std: float | None = None
    count: Integer | None = None
    unit: Text
    direction: Literal["lower", "higher"]
    definition: Text
    averaging: Text

    def model_post_init(self, context: Any, /) -> None:
        """Ten thousand records hold hundreds of thousands of values: share what is the same in all of them."""
        del context
        fields = self.__dict__
        fields["definition"], fields["averaging"] = sys.intern(self.definition), sys.intern(self.averaging)
        # pydantic's note of which fields were given; as large as the values themselves
        object.__setattr__(self, "__pydantic_fields_set__", _METRIC_FIELDS)


_METRIC_FIELDS = set(MetricPart.model_fields)


class RunRecord(_Part):
    """The record of one cell: method x weights x data set x protocol x seed."""

    schema_version: Literal[2] = SCHEMA_VERSION
    status: Literal["ok", "failed"]
    reason: str | None = None
    method: MethodPart
    protocol: ProtocolPart
    dataset: DatasetPart | None = Field(default=None, description="None: the protocol reads no images.")
    seed: Integer
    metrics: list[MetricPart] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    provenance: dict[str, Any] = Field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """Everything that could change the numbers, and nothing else."""
        return {
            "schema_version": IDENTITY_VERSION,
            "method": self.method.identity(),
            "protocol": self.protocol.identity(),
            "dataset": self.dataset and self.dataset.identity(),
            "seed": self.seed,
        }

    @property
    def id(self) -> str:
        return content_hash(self.identity())

    def value(self, metric: str, **condition: Any) -> MetricPart:
        """The one value of a metric under a condition.

        Raises:
            KeyError: where there is none.
        """
        for part in self.metrics:
            if part.metric == metric and part.condition == condition:
                return part
        raise KeyError(f"{metric} {condition}")


def content_hash(value: Any) -> str:
    """16 hex digits of the SHA-256 of the canonical JSON of ``value``."""
    return text_hash(canonical_json(value))


def canonical_json(value: Any) -> str:
    """The same text for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
