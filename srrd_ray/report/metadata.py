"""What other software reads of a run: a BIDS derivative's description, and an RO-Crate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from srrd_ray.core.json_tree import Json, at

DESCRIPTION, RO_CRATE = "dataset_description.json", "ro-crate-metadata.json"
BIDS_VERSION = "1.10.0"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
CONFORMS = "https://w3id.org/ro/crate/1.1"
PAPER = "https://arxiv.org/abs/2307.04390"
BY_AUTHOR = "To be chosen by the author of the run."


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file of a run: its path in the folder of the run, its name in words, its media type."""

    path: str
    name: str
    kind: str


def dataset_description(manifest: Json, metrics: Json) -> dict[str, Json]:
    """Return ``dataset_description.json`` of a BIDS derivative dataset."""
    return {
        "Name": f"SRRD-Ray run{' of simulated knees' if _simulated(metrics) else ''}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "SRRD-Ray", "Version": str(at(manifest, "software") or "unknown")}],
        "SourceDatasets": [{"Version": f"sha256:{at(manifest, 'cohort') or 'unknown'}"}],
        "HowToAcknowledge": "Cite the entries of citation.bib; report.html has the methods in words.",
        "ReferencesAndLinks": [PAPER],
    }


def ro_crate(manifest: Json, metrics: Json, files: Sequence[File], day: str) -> dict[str, Json]:
    """Return ``ro-crate-metadata.json``: the files, the software, and that it made them of a cohort.

    `day` (ISO 8601) is that of the run; empty where it is not known.
    """
    software = "#srrd-ray"
    parts: list[Json] = [
        {"@id": file.path, "@type": "File", "name": file.name, "encodingFormat": file.kind} for file in files
    ]
    graph: list[Json] = [
        {
            "@id": RO_CRATE,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": CONFORMS},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": dataset_description(manifest, metrics)["Name"],
            "description": _described(manifest, metrics),
            **({"datePublished": day} if day else {}),
            "license": {"@id": "#licence"},
            "hasPart": [{"@id": file.path} for file in files],
            "mentions": {"@id": "#run"},
            "citation": {"@id": PAPER},
        },
        *parts,
        {"@id": "#licence", "@type": "CreativeWork", "name": "Licence", "description": BY_AUTHOR},
        {
            "@id": software,
            "@type": "SoftwareApplication",
            "name": "SRRD-Ray",
            "softwareVersion": str(at(manifest, "software") or "unknown"),
            "license": {"@id": "https://spdx.org/licenses/Apache-2.0"},
        },
        {
            "@id": "https://spdx.org/licenses/Apache-2.0",
            "@type": "CreativeWork",
            "name": "Apache License 2.0",
        },
        {
            "@id": "#cohort",
            "@type": "Dataset",
            "name": "Cohort of the run",
            "identifier": f"sha256:{at(manifest, 'cohort') or 'unknown'}",
        },
        {
            "@id": "#run",
            "@type": "CreateAction",
            "name": "srrd run",
            "instrument": {"@id": software},
            "object": {"@id": "#cohort"},
            "result": [{"@id": file.path} for file in files],
        },
        {"@id": PAPER, "@type": "ScholarlyArticle", "name": "Synthesis, Registration, Regression, Diagnosis"},
    ]
    return {"@context": CONTEXT, "@graph": graph}


def _described(manifest: Json, metrics: Json) -> str:
    kind = "Simulated knees, no patient. " if _simulated(metrics) else ""
    return (
        f"{kind}Trabecular parameters of subchondral bone read from CT, learned from MR, in "
        f"{at(manifest, 'knees')} knees, and their diagnosis of osteoarthritis. Research software; not a "
        "medical device."
    )


def _simulated(metrics: Json) -> bool:
    return at(metrics, "cohort", "simulated") is True
