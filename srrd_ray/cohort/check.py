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
from srrd_ray.imaging.images import read_header, read_image, read_mask
from srrd_ray.imaging.source import Note, ReadRules, SourceHeader

Severity: TypeAlias = Literal["STOP", "REFUSE", "FIX", "FLAG", "INFO"]
ORDER: tuple[Severity, ...] = ("STOP", "REFUSE", "FIX", "FLAG", "INFO")
FAULTS = ("STOP", "REFUSE")
READERS = 8
"""Images read at once, at most: each holds its voxels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing found. `participant`, `side` and `modality` are none where it concerns the whole cohort or knee."""

    participant: str | None
    side: Side | None
    modality: Modality | None
    code: str
    message: str
    severity: Severity


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """All findings, worst first, and how many knees were looked at."""

    findings: tuple[Finding, ...]
    knees: int

    @property
    def faulty(self) -> bool:
        """Whether anything would stop the run or refuse a knee."""
        return any(finding.severity in FAULTS for finding in self.findings)

    def table(self) -> str:
        """Return the findings as text, one line each, and a last line of counts."""
        lines = [_line(finding) for finding in self.findings]
        faults = {(f.participant, f.side) for f in self.findings if f.severity in FAULTS and f.participant}
        return "\n".join([*lines, f"{self.knees} knees, {len(faults)} of them with a fault; {len(lines)} findings"])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Looked:
    """What is kept of an image that was read."""

    sha256: str
    notes: tuple[Note, ...]


Opened: TypeAlias = tuple[Series, SourceHeader]


def check(cohort_root: Path, rules: ReadRules | None = None, *, pixels: bool = True) -> CheckReport:
    """Return every finding of the cohort at `cohort_root`; `pixels=False` looks at tables and headers only.

    One bad knee never stops the others; a missing folder is a finding too.
    """
    rules = rules or ReadRules()
    try:
        cohort, faults = survey(cohort_root)
    except CohortError as error:
        return CheckReport(findings=(_stop(error),), knees=0)
    found = [_stop(error) for error in faults]
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, READERS)) as pool:
        surveyed = list(pool.map(lambda knee: _headers(knee, rules), cohort.knees))
        found += [finding for findings, _ in surveyed for finding in findings]
        opened = [pair for _, pairs in surveyed for pair in pairs]
        found += _voxels(opened, rules, pool) if pixels else []
    found += [*_strangers(cohort), *_labels(cohort.knees)]
    found.sort(key=lambda f: (ORDER.index(f.severity), f.participant or "", f.side or "", f.modality or "", f.code))
    return CheckReport(findings=tuple(found), knees=len(cohort.knees))


def _headers(knee: CohortKnee, rules: ReadRules) -> tuple[list[Finding], list[Opened]]:
    """Return what tables and headers of one knee show, and the series that can be read further."""
    opened: list[Opened] = []
    return list(_header_findings(knee, rules, opened)), opened


def _header_findings(knee: CohortKnee, rules: ReadRules, opened: list[Opened]) -> Iterator[Finding]:
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
            yield _refusal(knee.knee, modality, error)
            continue
        opened.append((series, header))
        yield from (_noted(series, note) for note in header.notes)
        yield from _masks(knee, modality, header.geometry, rules)


def _masks(knee: CohortKnee, modality: Modality, grid: Geometry, rules: ReadRules) -> Iterator[Finding]:
    given = [path for _, of, path in knee.masks if of == modality]
    for path in given:
        try:
            read_mask(path, grid, rules=rules)
        except Exception as error:
            found = _refusal(knee.knee, modality, error)
            one_of_several = found.code == "mask-empty" and len(given) > 1
            yield replace(found, severity="FLAG") if one_of_several else found


def _voxels(opened: Sequence[Opened], rules: ReadRules, pool: ThreadPoolExecutor) -> Iterator[Finding]:
    """Yield what the voxels show: what cannot be decoded, what was corrected, and one image under two participants."""
    seen: list[tuple[str, Knee]] = []
    for (series, header), found in zip(opened, pool.map(lambda pair: _look(pair[0], rules), opened), strict=True):
        if isinstance(found, Finding):
            yield found
            continue
        seen.append((found.sha256, series.knee))
        yield from (_noted(series, note) for note in found.notes if note not in header.notes)
    for knees in leaks(seen):
        yield _finding(knees[0], None, "STOP", "leakage-same-image", str(leak_error(knees)))
    yield from _doubles(seen)


def _look(series: Series, rules: ReadRules) -> _Looked | Finding:
    """Return what reading the voxels of a series shows, the voxels themselves let go."""
    try:
        image = read_image(series.path, series.modality, side=series.knee.side, rules=rules)
    except Exception as error:
        return _refusal(series.knee, series.modality, error)
    return _Looked(sha256=hash_voxels(image.volume), notes=image.notes)


def _doubles(seen: Sequence[tuple[str, Knee]]) -> Iterator[Finding]:
    """Yield images that one participant brings twice: no leak, as a patient lies in one fold, but hardly meant."""
    counts = Counter((digest, knee.participant) for digest, knee in seen)
    for digest, participant in (pair for pair, count in counts.items() if count > 1):
        knees = sorted({knee for other, knee in seen if (other, knee.participant) == (digest, participant)})
        text = f"the same voxels twice in {', '.join(knee.key for knee in knees)}: one of the two is not what its name says"
        yield _finding(knees[0], None, "FLAG", "image-twice", text)


def _strangers(cohort: Cohort) -> Iterator[Finding]:
    """Yield folders of participants that no knee of the tables uses: counted, not named, as they may be anything."""
    known = {f"sub-{item.knee.participant}" for item in cohort.knees}
    count = sum(path.is_dir() and path.name not in known for path in cohort.root.glob("sub-*"))
    if count:
        text = f"{count} folders sub-* belong to no usable row of knees.tsv and are not read"
        yield _finding(None, None, "INFO", "folder-unused", text)


def _labels(knees: Sequence[CohortKnee]) -> Iterator[Finding]:
    blank = sum(item.kl_grade is None for item in knees)
    if blank:
        yield _finding(None, None, "INFO", "kl-blank", f"{blank} of {len(knees)} knees without a KL grade are excluded")


def _finding(knee: Knee | None, modality: Modality | None, severity: Severity, code: str, message: str) -> Finding:
    return Finding(
        participant=knee.participant if knee else None,
        side=knee.side if knee else None,
        modality=modality,
        code=code,
        message=message,
        severity=severity,
    )


def _noted(series: Series, note: Note) -> Finding:
    return _finding(series.knee, series.modality, note.severity, note.code, note.message)


def _refusal(knee: Knee, modality: Modality, error: Exception) -> Finding:
    fault = Fault.of(error)
    return _finding(knee, modality, "REFUSE", fault.code, fault.message)


def _stop(error: CohortError) -> Finding:
    return _finding(None, None, "STOP", error.code, str(error))


def _line(finding: Finding) -> str:
    who = " ".join(part for part in (finding.participant, finding.side, finding.modality) if part) or "cohort"
    return f"{finding.severity:<6} {who:<16} {finding.code:<24} {finding.message}"
