"""The card of a trained synthesis, read without loading torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from srrd_ray.core.errors import StoreError
from srrd_ray.storage.record_files import read_record
from srrd_ray.synthesis.config import CycleGanConfig

GENERATOR: Final = "mr_to_ct"
WAY_BACK: Final = "ct_to_mr"
CARD: Final = "model.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesisCard:
    """``models/synthesis/model.json``: configuration, hashes of the weights by file, units, and the patients
    that the network never saw.

    One that learnt from simulated knees says what it learnt from, and how it did on others, by MR sequence.
    """

    config: CycleGanConfig
    weights: dict[str, str]
    units: dict[str, str]
    held_out: tuple[str, ...] = ()
    learnt_from: dict[str, str] = field(default_factory=dict)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)


def read_card(model_dir: Path) -> SynthesisCard:
    """Return the card of a synthesis.

    Raises
    ------
    StoreError
        `model-missing`, `schema-version`, `schema-invalid`.
    """
    about = model_dir / CARD
    if not about.is_file() or not (model_dir / f"{GENERATOR}.safetensors").is_file():
        raise StoreError(
            "model-missing",
            "no trained synthesis",
            where=model_dir.name,
            todo="Train it: run the synthesis stage.",
        )
    return read_record(SynthesisCard, about, "synthesis")
