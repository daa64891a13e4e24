"""The card of a trained synthesis, read without loading torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from srrd_ray import synthesis
from srrd_ray.core.errors import StoreError
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.model_card import Figure, ModelFacts
from srrd_ray.storage.record_files import read_record
from srrd_ray.synthesis.config import CycleGanConfig, with_network_of

GENERATOR: Final = "mr_to_ct"
WAY_BACK: Final = "ct_to_mr"
CONTRASTS: Final = "contrasts"
CARD: Final = "model.json"
SAID: Final = ("body", "bone")
"""Parts of the image whose figures stand on the page of a synthesis."""
WORDS: Final = {"mae_hu": ("MAE, HU", 0), "psnr_db": ("PSNR, dB", 1), "ssim": ("SSIM", 2)}
"""How a figure is said, and with how many decimals."""
SHIPPED: Final = Path(synthesis.__file__).parent / "weights"


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesisCard:
    """``models/synthesis/model.json``: configuration, hashes of the weights by file, units, and the patients
    that the network never saw.

    One that learnt from simulated knees says what it learnt from, and how it did on others, by MR sequence;
    a file beside its weights has the contrasts that it saw.
    """

    config: CycleGanConfig
    weights: dict[str, str]
    units: dict[str, str]
    held_out: tuple[str, ...] = ()
    learnt_from: dict[str, str] = field(default_factory=dict)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)


def facts_of(card: SynthesisCard) -> ModelFacts:
    """Return what is told of a synthesis that learnt from simulated knees alone."""
    return ModelFacts(
        name="SRRD-Ray synthesis: MR of a knee to CT",
        use="Synthetic CT from an MR of an adult knee, to be compared with the knee's CT, for research.",
        data=tuple(f"{name}: {told}" for name, told in sorted(card.learnt_from.items())),
        simulated=True,
        figures=tuple(_said(card)),
        limits=(
            "Learnt from simulated knees alone: no real image.",
            "Nothing may be measured on a synthetic CT; it is labelled as synthetic wherever it is stored.",
            "In larger fields of view than those it learnt from, muscles of thigh and calf may become bone.",
            "Not for metal, fractures, children or other joints.",
        ),
        licence="Apache-2.0",
        files=card.weights,
    )


def _said(card: SynthesisCard) -> Iterator[Figure]:
    for sequence, figures in sorted(card.figures.items()):
        for name, value in sorted(figures.items()):
            if name.startswith(SAID):
                part, figure = name.split()
                words, digits = WORDS[figure]
                yield Figure(name=f"{sequence}, {part}: {words}", value=value, digits=digits)


def begun(config: CycleGanConfig) -> tuple[CycleGanConfig, Path | None]:
    """Return the settings of round one, and where the weights are that it begins at, if anywhere.

    Raises
    ------
    StoreError
        As `read_card`.
    """
    if config.start == "random":
        return config, None
    folder = require_synthesis(config.school)
    return with_network_of(config, read_card(folder).config), folder / f"{GENERATOR}.safetensors"


def require_synthesis(folder: str) -> Path:
    """Return the folder of a synthesis that learnt from simulated knees: the package's own where `folder` is
    empty.

    Raises
    ------
    StoreError
        `model-missing`.
    """
    path = Path(folder) if folder else SHIPPED
    if not (path / CARD).is_file():
        raise StoreError(
            "model-missing", "no synthesis that learnt from simulated knees", where=path.name,
            todo="Name in synthesis.school what jobs/train_synthesis.py made, or synthesis.start: random.",
        )  # fmt: skip
    return path


def hash_synthesis(folder: str) -> str:
    """Return the hash of all that a synthesis of the school gives; errors as `read_card`."""
    return hash_json(read_card(require_synthesis(folder)).weights)


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
