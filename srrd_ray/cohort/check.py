"""Check: every fault of a cohort in one pass, tables first, then headers, then voxels. Nothing is written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from srrd_ray.cohort.leakage import leak_error, leaks
from srrd_ray.cohort.tables import MODALITIES, Cohort, survey
from srrd_ray.core.errors import CohortError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.hashing import hash_voxels
from srrd_ray.core.records import CohortKnee, Fault, Knee, Modality, Series, Side
from srrd_ray.imaging.bone_masks import holds_all_bones, read_bone_masks
from srrd_ray.imaging.images import read_header, read_image
from srrd_ray.imaging.masks import read_doubted_mask
from srrd_ray.imaging.source import Note, ReadRules, SourceHeader
from srrd_ray.storage.paths import local_copy

Severity: TypeAlias = Literal["STOP", "REFUSE", "FIX", "FLAG", "INFO"]
ORDER: tuple[Severity, ...] = ("STOP", "REFUSE", "FIX", "FLAG", "INFO")
FAULTS = ("STOP", "REFUSE")
SIDECARS = (".json", ".txt", ".tsv", ".csv")
"""What may lie beside an image and is none."""
READERS = 8
"""Images read at once, at most: each holds its voxels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One fault or note. `participant`, `side` and `modality` are none
    where it concerns the whole cohort or knee.
    """

    participant: str | None
    side: Side | None
    modality: Modality | None
    code: str
    message: str
    severity: Severity


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """All findings, worst first, and how many knees were checked."""

    findings: tuple[Finding, ...]
    knees: int

    @property
    def faulty(self) -> bool:
        """Whether anything would stop the run or refuse a knee."""
        return any(finding.severity in FAULTS for finding in self.findings)

    def extended(self, findings: Sequence[Finding]) -> CheckReport:
        """Return the report with more findings."""
        return replace(self, findings=_ranked([*self.findings, *findings]))

    def table(self) -> str:
        """Return the findings as text, one line each, and a last line of counts."""
        lines = [_format_line(finding) for finding in self.findings]
        return "\n".join([*lines, self._counts()])

    def _counts(self) -> str:
        """Return the last line of the table; what stops a run comes first."""
        faults = {(f.participant, f.side) for f in self.findings if f.severity in FAULTS and f.participant}
        stops = sum(finding.severity == "STOP" for finding in self.findings)
        stopped = f"no run of it is possible: {_counted(stops, 'STOP finding')}; " if stops else ""
        usable = "usable " if stops else ""
        knees = f"{_counted(self.knees, f'{usable}knee')}, {len(faults)} of them with a fault"
        return f"{stopped}{knees}; {_counted(len(self.findings), 'finding')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _ImageCheck:
    """Hash and notes of an image that was read."""

    sha256: str
    notes: tuple[Note, ...]


ReadableSeries: TypeAlias = tuple[Series, SourceHeader]


def check(cohort_root: Path, rules: ReadRules | None = None, *, pixels: bool = True) -> CheckReport:
    """Return every finding of the cohort at `cohort_root`; `pixels=False` looks at tables and headers only.

    One bad knee never stops the others.

    Raises
    ------
    CohortError
        `cohort-missing` where there is no such folder: then there is nothing to check.
    """
    rules = rules or ReadRules()
    cohort, faults = survey(cohort_root)
    findings = [_stop_finding(error) for error in faults]
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, READERS)) as pool:
        surveyed = list(pool.map(lambda knee: _check_headers(knee, rules), cohort.knees))
        findings += [finding for of_knee, _ in surveyed for finding in of_knee]
        opened = [pair for _, pairs in surveyed for pair in pairs]
        findings += _check_all_voxels(opened, rules, pool) if pixels else []
    findings += [*_unused_folders(cohort), *_unused_files(cohort), *_blank_labels(cohort.knees)]
    return CheckReport(findings=_ranked(findings), knees=len(cohort.knees))


def _ranked(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings with the worst first."""
    return tuple(
        sorted(
            findings,
            key=lambda f: (
                ORDER.index(f.severity),
                f.participant or "",
                f.side or "",
                f.modality or "",
                f.code,
            ),
        )
    )


def _check_headers(knee: CohortKnee, rules: ReadRules) -> tuple[list[Finding], list[ReadableSeries]]:
    """Return the findings from tables and headers of one knee, and the series whose voxels can be read."""
    opened: list[ReadableSeries] = []
    return list(_header_findings(knee, rules, opened)), opened


def _header_findings(knee: CohortKnee, rules: ReadRules, opened: list[ReadableSeries]) -> Iterator[Finding]:
    for modality in MODALITIES:
        series = knee.series(modality)
        if series is None:
            severity: Severity = "FLAG" if knee.ct or knee.mr else "REFUSE"
            text = f"no {modality.upper()} image: what needs it is skipped"
            yield _finding(knee.knee, modality, severity, f"knee-no-{modality}", text)
            continue
        try:
            header = read_header(series.path, modality, side=knee.knee.side, rules=rules)
        except Exception as error:
            yield _refusal_finding(knee.knee, modality, error)
            continue
        opened.append((series, header))
        yield from (_note_finding(series.knee, series.modality, note) for note in header.notes)
        yield from _check_masks(knee, modality, header.geometry, rules)


def _check_masks(knee: CohortKnee, modality: Modality, grid: Geometry, rules: ReadRules) -> Iterator[Finding]:
    given = list(dict.fromkeys(path for _, of, path in knee.masks if of == modality))
    for path in given:
        try:
            doubts = _read_mask(path, grid, knee.knee, rules)
        except Exception as error:
            finding = _refusal_finding(knee.knee, modality, error)
            one_of_several = finding.code == "mask-empty" and len(given) > 1
            yield replace(finding, severity="FLAG") if one_of_several else finding
            continue
        yield from (_note_finding(knee.knee, modality, note) for note in doubts)


def _read_mask(path: Path, grid: Geometry, knee: Knee, rules: ReadRules) -> tuple[Note, ...]:
    """Return what is doubtful of a mask that can be read."""
    if holds_all_bones(path):
        return read_bone_masks(path, grid, knee.side, {}, rules).notes
    with local_copy(path) as here:
        return read_doubted_mask(here, grid, rules=rules)[1]


def _check_all_voxels(
    opened: Sequence[ReadableSeries], rules: ReadRules, pool: ThreadPoolExecutor
) -> Iterator[Finding]:
    """Yield what the voxels show: undecodable images, corrections, and one image under two participants."""
    seen: list[tuple[str, Knee]] = []
    for (series, header), found in zip(
        opened, pool.map(lambda pair: _check_voxels(pair[0], rules), opened), strict=True
    ):
        if isinstance(found, Finding):
            yield found
            continue
        seen.append((found.sha256, series.knee))
        yield from (
            _note_finding(series.knee, series.modality, note)
            for note in found.notes
            if note not in header.notes
        )
    for knees in leaks(seen):
        yield _finding(knees[0], None, "STOP", "leakage-same-image", str(leak_error(knees)))
    yield from _doubles(seen)


def _check_voxels(series: Series, rules: ReadRules) -> _ImageCheck | Finding:
    """Return hash and notes of a series, or why its voxels cannot be read; the voxels are not kept."""
    try:
        image = read_image(series.path, series.modality, side=series.knee.side, rules=rules)
    except Exception as error:
        return _refusal_finding(series.knee, series.modality, error)
    return _ImageCheck(sha256=hash_voxels(image.volume), notes=image.notes)


def _doubles(seen: Sequence[tuple[str, Knee]]) -> Iterator[Finding]:
    """Yield images that one participant brings twice: no leak, but a likely error.

    It is no leak since a patient is in one fold.
    """
    counts = Counter((digest, knee.participant) for digest, knee in seen)
    for digest, participant in (pair for pair, count in counts.items() if count > 1):
        knees = sorted({knee for other, knee in seen if (other, knee.participant) == (digest, participant)})
        keys = ", ".join(knee.key for knee in knees)
        text = f"the same voxels twice in {keys}: one of the two is not what its name says"
        yield _finding(knees[0], None, "FLAG", "image-twice", text)


def _unused_folders(cohort: Cohort) -> Iterator[Finding]:
    """Yield folders of participants that no knee of the tables uses:
    counted, not named, as they may be anything.
    """
    known = {f"sub-{item.knee.participant}" for item in cohort.knees}
    count = sum(path.is_dir() and path.name not in known for path in cohort.root.glob("sub-*"))
    if count:
        text = f"{count} folders sub-* belong to no usable row of knees.tsv and are not read"
        yield _finding(None, None, "INFO", "folder-unused", text)


def _unused_files(cohort: Cohort) -> Iterator[Finding]:
    """Yield participants with images that no knee uses: a near miss of a name is not absent.

    They are counted, not named, as a name may be anybody's.
    """
    used: dict[str, set[str]] = {}
    for item in cohort.knees:
        names = used.setdefault(item.knee.participant, set())
        names.update(series.path.name for series in (item.ct, item.mr) if series is not None)
    for participant, names in used.items():
        home = cohort.root / f"sub-{participant}"
        found = [path.name for modality in MODALITIES for path in _visible(home / modality)]
        other = sorted(name for name in found if name not in names and not name.endswith(SIDECARS))
        if other:
            knees = [item.knee for item in cohort.knees if item.knee.participant == participant]
            text = f"{len(other)} files in ct and mr have other names than {knees[0].key}_ct or _mr: not read"
            yield _finding(knees[0], None, "FLAG", "image-unused", text)


def _visible(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:  # absent, or said where it is read
        return []


def _blank_labels(knees: Sequence[CohortKnee]) -> Iterator[Finding]:
    blank = sum(item.kl_grade is None for item in knees)
    if blank:
        yield _finding(
            None, None, "INFO", "kl-blank", f"{blank} of {len(knees)} knees without a KL grade are excluded"
        )


def _finding(
    knee: Knee | None, modality: Modality | None, severity: Severity, code: str, message: str
) -> Finding:
    return Finding(
        participant=knee.participant if knee else None,
        side=knee.side if knee else None,
        modality=modality,
        code=code,
        message=message,
        severity=severity,
    )


def _note_finding(knee: Knee, modality: Modality, note: Note) -> Finding:
    return _finding(knee, modality, note.severity, note.code, note.message)


def _refusal_finding(knee: Knee, modality: Modality, error: Exception) -> Finding:
    fault = Fault.from_error(error)
    return _finding(knee, modality, "REFUSE", fault.code, fault.message)


def _stop_finding(error: CohortError) -> Finding:
    return _finding(None, None, "STOP", error.code, str(error))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _format_line(finding: Finding) -> str:
    who = " ".join(part for part in (finding.participant, finding.side, finding.modality) if part) or "cohort"
    return f"{finding.severity:<6} {who:<16} {finding.code:<24} {finding.message}"
