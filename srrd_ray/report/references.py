"""What a run stands on, to be cited."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CITATION = "citation.bib"
KEYS: Mapping[str, str] = {
    "srrd": "srrdray",
    "paper": "srrd2023",
    "cyclegan": "zhu2017",
    "asbmr": "bouxsein2010",
    "thickness": "hildebrand1997",
    "distillation": "hinton2015",
    "asha": "li2020",
    "ray": "moritz2018",
    "icc": "mcgraw1996",
    "delong": "delong1988",
    "claim": "tejani2024",
    "monai": "cardoso2022",
    "pytorch": "paszke2019",
    "simpleitk": "lowekamp2013",
}
"""Of the entries of ``references.bib`` beside this file, by what they are cited for."""


def bibtex(version: str) -> str:
    """Return all references as BibTeX, the software in the version of the run."""
    entries = (Path(__file__).parent / "references.bib").read_text(encoding="utf-8")
    return entries.replace("VERSION", version)
