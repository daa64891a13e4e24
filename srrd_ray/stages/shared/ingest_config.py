"""How images are read: a record of its own, so that reading a configuration loads no reader of images."""

from __future__ import annotations

from dataclasses import dataclass, field

from srrd_ray.core.settings import validate_fields
from srrd_ray.imaging.source import ReadRules


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig:
    """How images are read. `rules` are what a reader may do where the input leaves a choice."""

    rules: ReadRules = field(default_factory=ReadRules)

    def __post_init__(self) -> None:
        validate_fields(self)
