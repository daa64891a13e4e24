"""One page of a run, from the files of its folder.

A run that stopped half way has a page of what there is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from srrd_ray import __version__
from srrd_ray.core import serial
from srrd_ray.core.bones import BONES
from srrd_ray.core.json_tree import Json, at
from srrd_ray.core.records import BoneTransform, Image, Knee, Outcome
from srrd_ray.core.volume import Volume
from srrd_ray.report.html import run_page
from srrd_ray.report.metadata import DESCRIPTION, RO_CRATE, File, dataset_description, ro_crate
from srrd_ray.report.overlays import KneeImages
from srrd_ray.report.page import render
from srrd_ray.report.qc_page import KneePicture, count_pages, qc_page
from srrd_ray.report.references import CITATION, bibtex
from srrd_ray.report.run import Run
from srrd_ray.stages.shared.gather import read_of_run
from srrd_ray.stages.shared.poses import accepted_pose, read_pose
from srrd_ray.stages.shared.qc_picture import bone_notes, describe_bones
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.omezarr import read_volume

TABLES = (
    "knees", "registration", "measures", "predictions", "diagnosis", "tune", "truth", "target_errors",
    "synthesis_figures",
)  # fmt: skip
TRAINING = ("learn-synthesis", "learn-aligned", "teach", "distil")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shown:
    """A knee whose registration is drawn, and why this one."""

    knee: Knee
    why: str


def build_report(layout: RunLayout) -> tuple[Path, ...]:
    """Return the pages that were written: ``report.html``, and those with a picture of every knee.

    They are made from the tables, metrics, run.json, volumes and pictures of a run. What the layout is not
    open to is not shown: it may be there from an earlier run in this folder.
    """
    tables = {name: table for name in TABLES if (table := read_of_run(layout, name)) is not None}
    manifest = _json(layout.run_json)
    outcomes = _outcomes(manifest)
    metrics = _json(layout.metrics) if layout.opens("metrics.json") else None
    simulated = at(metrics, "cohort", "simulated") is True
    pictures = tuple(_pictures(layout, tables.get("registration")))
    knees = _write_qc(layout, pictures, outcomes, simulated=simulated)
    run = Run(
        tables=tables,
        metrics=metrics,
        manifest=manifest,
        outcomes=outcomes,
        overlays={
            f"{shown.knee.key}: {shown.why}": images
            for shown in _shown(tables.get("registration"))
            if (images := knee_images(layout, shown.knee)) is not None
        },
        qc=f"qc/{knees[0].name}" if knees else "",
        pictures=pictures if knees else (),
        losses=_losses(layout),
        software=__version__,
    )
    write_text(layout.report, render(run_page(run)))
    return (layout.report, *knees, *_write_metadata(layout, run))


def _write_metadata(layout: RunLayout, run: Run) -> tuple[Path, ...]:
    """Return the files beside the report that other software reads, after writing them."""
    texts = {
        CITATION: bibtex(run.software),
        DESCRIPTION: _dump(dataset_description(run.manifest, run.metrics)),
        RO_CRATE: _dump(ro_crate(run.manifest, run.metrics, _files(run), _day(layout.run_json))),
    }
    for name, text in texts.items():
        write_text(layout.beside_report(name), text)
    return tuple(layout.beside_report(name) for name in texts)


def _dump(data: Json) -> str:
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _files(run: Run) -> tuple[File, ...]:
    """Return what of the run the report was made from, and the report itself."""
    found = [File(path="report.html", name="Report of the run", kind="text/html")]
    if run.manifest is not None:
        found.append(
            File(path="run.json", name="Configuration, versions and outcomes", kind="application/json")
        )
    if run.metrics is not None:
        found.append(File(path="metrics.json", name="Figures of the run", kind="application/json"))
    for name in run.tables:
        path = f"tables/{name}.parquet"
        found.append(File(path=path, name=f"Table {name}", kind="application/vnd.apache.parquet"))
    return tuple(found)


def _day(path: Path) -> str:
    """Return the day of the last change of a file, UTC, ISO 8601; empty where it is absent."""
    if not path.is_file():
        return ""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()


def _losses(layout: RunLayout) -> dict[str, Json]:
    """Return the losses of each stage that trains, where they were kept."""
    names = {stage: f"losses-{stage}.json" for stage in TRAINING}
    opened = {stage: layout.model(name) for stage, name in names.items() if layout.opens(f"models/{name}")}
    return {stage: losses for stage, path in opened.items() if (losses := _json(path)) is not None}


def _write_qc(
    layout: RunLayout, pictures: Sequence[KneePicture], outcomes: Sequence[Outcome], *, simulated: bool
) -> tuple[Path, ...]:
    """Return the pages with a picture of every knee, after writing them; none where none was drawn."""
    if not layout.opens("qc/pages"):
        return ()
    pages = [layout.qc_page(n + 1) for n in range(count_pages(len(pictures)))]
    names = [page.name for page in pages]
    drawn = {one.name for one in pictures}
    lost = [o for o in outcomes if o.lost_knee is not None and o.lost_knee.key not in drawn]
    for number, page in enumerate(pages, start=1):
        shown = qc_page(pictures, names, number, lost=lost, simulated=simulated, software=__version__)
        write_text(page, render(shown))
    for old in set(layout.qc_page(1).parent.glob("page-*.html")) - set(pages):
        old.unlink()
    return tuple(pages)


def _pictures(layout: RunLayout, registration: pd.DataFrame | None) -> Iterator[KneePicture]:
    """Yield the pictures of the knees: refused bones first, then by the greatest distance of surfaces."""
    if registration is None or not layout.opens("qc/pictures"):
        return
    ranked = registration.assign(fits=registration["surface_mm"].where(registration["accepted"], np.inf))
    worst = ranked.groupby(["participant", "side"])["fits"].max().reset_index()
    for row in worst.sort_values(["fits", "participant", "side"], ascending=[False, True, True]).itertuples():
        knee = Knee(participant=str(row.participant), side="L" if row.side == "L" else "R")
        thumbnail = layout.qc_thumbnail(knee)
        if thumbnail.is_file():
            poses = [pose for bone in BONES if (pose := read_pose(layout, knee, bone)) is not None]
            yield KneePicture(
                name=knee.key, words=_words(layout, knee, poses), thumbnail=thumbnail.read_bytes(),
                file=layout.qc_picture(knee).name, refused=bool(np.isinf(row.fits)),
            )  # fmt: skip


def _words(layout: RunLayout, knee: Knee, poses: list[BoneTransform]) -> str:
    return "; ".join([describe_bones(poses), *bone_notes(layout, knee)])


def knee_images(layout: RunLayout, knee: Knee) -> KneeImages | None:
    """Return the volumes of a knee and its accepted transforms.

    It is None where there is no transform, or CT, bones or MR are missing. A refused transform is no result
    and is not used: the bone is black next to the CT.
    """
    needed: tuple[Image, ...] = ("ct", "ct_bones", "mr")
    poses = {bone: found for bone in BONES if (found := accepted_pose(layout, knee, bone)) is not None}
    if not poses or not all(layout.volume(knee, image).exists() for image in needed):
        return None
    labels = read_volume(layout.volume(knee, "ct_bones"))
    synthetic = layout.volume(knee, "sct")
    return KneeImages(
        side=knee.side,
        ct=read_volume(layout.volume(knee, "ct")),
        bones=Volume(array=labels.array.astype(np.uint8), geometry=labels.geometry),
        mr=read_volume(layout.volume(knee, "mr")),
        poses=poses,
        synthetic=read_volume(synthetic) if synthetic.exists() else None,
    )


def _shown(registration: pd.DataFrame | None) -> tuple[_Shown, ...]:
    """Return the knees of least, middle and greatest surface distance among accepted registrations.

    The distance of a knee is that of its worse bone.
    """
    if registration is None or registration.empty:
        return ()
    worse = (
        registration[registration["accepted"]]
        .groupby(["participant", "side"], sort=True)["surface_mm"]
        .max()
        .dropna()
    )
    ranked = worse.reset_index().sort_values(["surface_mm", "participant", "side"], ignore_index=True)
    places = {0: "best", len(ranked) // 2: "median", len(ranked) - 1: "worst"} if len(ranked) else {}
    chosen = []
    for place, word in sorted(places.items(), reverse=True):
        participant, side, distance = ranked.loc[place, ["participant", "side", "surface_mm"]]
        knee = Knee(participant=str(participant), side="L" if side == "L" else "R")
        why = f"{word} of the run, surface distance {float(distance):.2f} mm{_refused(registration, knee)}"
        chosen.append(_Shown(knee=knee, why=why))
    return tuple(chosen)


def _refused(registration: pd.DataFrame, knee: Knee) -> str:
    of_knee = registration[
        (registration["participant"] == knee.participant) & (registration["side"] == knee.side)
    ]
    refused = [row for row in of_knee.itertuples() if not row.accepted]
    bad = [f"{row.bone} refused and not drawn: {row.reason}" for row in refused]
    return f" ({'; '.join(bad)})" if bad else ""


def _outcomes(manifest: Json) -> tuple[Outcome, ...]:
    outcomes = at(manifest, "outcomes")
    return tuple(serial.from_mapping(Outcome, one) for one in outcomes) if isinstance(outcomes, list) else ()


def _json(path: Path) -> Json:
    if not path.is_file():
        return None
    found: Json = json.loads(path.read_text(encoding="utf-8"))
    return found
