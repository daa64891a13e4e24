"""The cohort on disk: two tables and a folder a participant, read once,
every fault of the tables found in one pass.

Paths are made from checked ids and never from a header;
what lies outside the cohort's folder is not followed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from srrd_ray.cohort.tsv import read_rows
from srrd_ray.core.bones import ALL_BONES, BONES, BoneName
from srrd_ray.core.errors import CohortError
from srrd_ray.core.records import CohortKnee, Knee, Modality, Series, Side
from srrd_ray.storage.paths import ObjectPath, cached_listing, find_names, parse_path
from srrd_ray.storage.schemas import validate

MODALITIES: tuple[Modality, ...] = get_args(Modality)
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".ome.zarr", ".dcm", "")
OLDEST = 90.0
_ID = re.compile(r"[A-Za-z0-9]+\Z")
_BLANK = {"", "n/a", "na", "nan"}
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cohort:
    """All knees, sorted by key."""

    root: Path
    knees: tuple[CohortKnee, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Person:
    age: float | None
    sex: str | None


def read_cohort(root: Path) -> Cohort:
    """Return the cohort at `root`.

    Raises
    ------
    CohortError
        The first fault of its tables (`cohort-missing`, `table-column`, `table-row`, `table-unreadable`,
        `id-invalid`, `id-duplicate`, `id-unknown`, `id-not-on-disk`, `knee-duplicate`, `side-invalid`,
        `kl-invalid`, `oa-invalid`, `path-outside`, `image-ambiguous`) with its row, and how many more
        there are.
    """
    cohort, faults = survey(root)
    if faults:
        first = faults[0]
        more = f" {len(faults) - 1} more; `srrd check` lists them all." if len(faults) > 1 else ""
        raise CohortError(
            first.code,
            first.what,
            where=first.where,
            got=first.got,
            expected=first.expected,
            todo=(first.todo + more).strip(),
        )
    return cohort


def with_parsed_paths(knee: CohortKnee) -> CohortKnee:
    """Return the knee with its paths parsed again:
    after a round trip through JSON, paths of an object store are plain.
    """
    ct, mr = (series and replace(series, path=parse_path(series.path)) for series in (knee.ct, knee.mr))
    masks = tuple((bone, modality, parse_path(path)) for bone, modality, path in knee.masks)
    return replace(knee, ct=ct, mr=mr, masks=masks)


def survey(root: Path) -> tuple[Cohort, tuple[CohortError, ...]]:
    """Return the usable knees and every fault of tables and layout; raises only for a missing cohort."""
    if not root.is_dir():
        raise CohortError(
            "cohort-missing", "no such folder", where=root.name, todo="Give the cohort's folder."
        )
    faults: list[CohortError] = []
    home = root.resolve()  # links are followed once, not once an image
    with cached_listing(home):
        people = dict(_read_people(home, faults))
        knees = sorted(_read_knees(home, people, faults), key=lambda item: item.knee.key)
    alike = {(k.knee.side, k.kl_grade, k.oa, k.age, k.sex): k for k in knees}  # ids were matched one by one
    for knee in alike.values():
        validate("cohort", _row(knee), knee.knee.key)
    if not knees and not faults:
        faults.append(CohortError("cohort-empty", "no knee in the table", where="knees.tsv"))
    return Cohort(root=root, knees=tuple(knees)), tuple(faults)


def _read_people(root: Path, faults: list[CohortError]) -> Iterator[tuple[str, _Person]]:
    row_of_id: dict[str, int] = {}
    for number, row in read_rows(root / "participants.tsv", ("participant_id", "age", "sex"), faults):
        name, where = _strip_prefix(row["participant_id"]), f"participants.tsv, row {number}"
        if not _ID.match(name):
            faults.append(_invalid_id_error(where, name))
        elif name in row_of_id:
            faults.append(
                _duplicate_error(
                    "id-duplicate", "participant", where, f"{name}, also in row {row_of_id[name]}"
                )
            )
        elif not (root / f"sub-{name}").is_dir():
            faults.append(
                CohortError(
                    "id-not-on-disk",
                    "participant without a folder",
                    where=where,
                    got=name,
                    expected=f"sub-{name}/",
                    todo=_lost_zeros(root, name),
                )
            )
        else:
            yield (
                name,
                _Person(
                    age=_parse_age(row["age"], where, faults), sex=_SEXES.get(row["sex"].strip().lower())
                ),
            )
        row_of_id.setdefault(name, number)


def _lost_zeros(root: Path, name: str) -> str:
    """Return a hint where a folder is named alike but for zeros before it; empty where none is."""
    alike = [path.name for path in root.glob(f"sub-0*{name}") if path.name[4:].lstrip("0") == name]
    return _hint(alike[0] if alike else "")


def _hint(alike: str) -> str:
    return f"Is {alike} meant? Spreadsheets drop zeros at the front." if alike else ""


def _read_knees(root: Path, people: Mapping[str, _Person], faults: list[CohortError]) -> Iterator[CohortKnee]:
    row_of_key: dict[str, int] = {}
    for number, row in read_rows(root / "knees.tsv", ("participant_id", "side", "kl_grade", "oa"), faults):
        where = f"knees.tsv, row {number}"
        knee = _parse_knee(row, people, where, faults)
        if knee is None:
            continue
        if knee.key in row_of_key:
            faults.append(
                _duplicate_error(
                    "knee-duplicate", "knee", where, f"{knee.key}, also in row {row_of_key[knee.key]}"
                )
            )
            continue
        row_of_key[knee.key] = number
        person = people[knee.participant]
        yield CohortKnee(
            knee=knee,
            ct=_find_series(root, knee, "ct", faults),
            mr=_find_series(root, knee, "mr", faults),
            kl_grade=_parse_grade(row["kl_grade"], where, "kl-invalid", range(5), faults),
            oa=_parse_grade(row["oa"], where, "oa-invalid", range(2), faults),
            age=person.age,
            sex=person.sex,
            masks=tuple(_find_masks(root, knee, faults)),
        )


def _parse_knee(
    row: Mapping[str, str], people: Mapping[str, _Person], where: str, faults: list[CohortError]
) -> Knee | None:
    name, side = _strip_prefix(row["participant_id"]), row["side"].strip()
    if not _ID.match(name):
        faults.append(_invalid_id_error(where, name))
        return None
    if side not in get_args(Side):
        faults.append(
            CohortError(
                "side-invalid", "no side of a knee", where=where, got=repr(side[:8]), expected="L or R"
            )
        )
        return None
    if name not in people:
        text = "participant is not in participants.tsv, or faulty there"
        alike = next((one for one in people if one.lstrip("0") == name.lstrip("0")), "")
        todo = _hint(alike)
        faults.append(CohortError("id-unknown", text, where=where, got=name[:32], todo=todo))
        return None
    return Knee(participant=name, side="L" if side == "L" else "R")


def _row(knee: CohortKnee) -> dict[str, str | int | float | None]:
    """Return a knee as `storage_schemas/cohort.schema.json` describes it."""
    return {
        "participant_id": knee.knee.participant, "side": knee.knee.side, "kl_grade": knee.kl_grade,
        "oa": knee.oa,
        "age": knee.age, "sex": knee.sex,
    }  # fmt: skip


def _strip_prefix(name: str) -> str:
    return name.strip().removeprefix("sub-")


def _invalid_id_error(where: str, name: str) -> CohortError:
    return CohortError(
        "id-invalid",
        "a participant id is made of letters and digits",
        where=where,
        got=f"{len(name)} characters, among them {sorted(set(re.findall(r'[^A-Za-z0-9]', name)))[:6]}",
        expected="^[A-Za-z0-9]+$",
        todo="Rename the participant in both tables and on disk.",
    )


def _duplicate_error(code: str, what: str, where: str, got: str) -> CohortError:
    return CohortError(code, f"the same {what} twice", where=where, got=got, expected="one row each")


def _parse_age(text: str, where: str, faults: list[CohortError]) -> float | None:
    if text.strip().lower() in _BLANK:
        return None
    age = _number(text.strip().removesuffix("+"))
    if not 0 <= age <= 130:
        faults.append(
            CohortError(
                "age-invalid",
                "no age in years",
                where=where,
                expected="0 to 130, decimals with a point, or n/a",
            )
        )
        return None
    return min(age, OLDEST) if age > 89 else age


def _parse_grade(text: str, where: str, code: str, allowed: range, faults: list[CohortError]) -> int | None:
    bare = text.strip().lower()
    if bare in _BLANK:
        return None
    value = _number(bare)
    if value not in allowed:
        expected = f"{allowed[0]} to {allowed[-1]}, or n/a"
        faults.append(
            CohortError(code, "no such grade", where=where, got=repr(text.strip()[:16]), expected=expected)
        )
        return None
    return int(value)


def _number(text: str) -> float:
    """Return the number that a cell holds; -1 for none. Python would read ``1_0`` as 10."""
    return float(text) if re.fullmatch(r"[0-9]+(\.[0-9]*)?", text) else -1.0


def _find_series(root: Path, knee: Knee, modality: Modality, faults: list[CohortError]) -> Series | None:
    stem = f"{knee.key}_{modality}"
    path = _find_image(root, root / f"sub-{knee.participant}" / modality, stem, faults)
    return None if path is None else Series(knee=knee, modality=modality, path=path)


def _find_masks(
    root: Path, knee: Knee, faults: list[CohortError]
) -> Iterator[tuple[BoneName, Modality, Path]]:
    """Yield the masks of the bones of a knee: a file a bone, or one file of labels for all."""
    folder = root / "derivatives" / "masks" / f"sub-{knee.participant}"
    for modality in MODALITIES:
        of_all = _find_image(root, folder, f"{knee.key}_space-{modality}_{ALL_BONES}", faults)
        for bone in BONES:
            own = _find_image(root, folder, f"{knee.key}_desc-{bone}_space-{modality}_mask", faults)
            if own is not None and of_all is not None:
                faults.append(
                    CohortError(
                        "mask-twice", f"the {bone} has a mask of its own beside one of all bones",
                        where=own.name, got=of_all.name, todo="Leave one of them.",
                    )
                )  # fmt: skip
            path = own or of_all
            if path is not None:
                yield bone, modality, path


def _find_image(root: Path, folder: Path, stem: str, faults: list[CohortError]) -> Path | None:
    """Return the one image of that stem in `folder`, checked to lie inside the cohort,
    whose `root` is no link.
    """
    paths = find_names(folder, stem, SUFFIXES)
    if len(paths) > 1:
        faults.append(
            CohortError(
                "image-ambiguous", "one image is there twice", where=stem,
                got=", ".join(path.name for path in paths),
                todo="Leave one of them.",
            )
        )  # fmt: skip
        return None
    if paths and _leads_out(paths[0], root):
        faults.append(
            CohortError(
                "path-outside", "a link leads out of the cohort's folder", where=paths[0].name,
                todo="Copy the image into the cohort.",
            )
        )  # fmt: skip
        return None
    return paths[0] if paths else None


def _leads_out(path: Path, root: Path) -> bool:
    """Whether a link leads to something outside; one that leads nowhere is refused where it is read."""
    if isinstance(path, ObjectPath):
        return False
    try:
        return not path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # nothing there, a circle, or not to be looked at
        return False


def count_labels(knees: Sequence[CohortKnee]) -> dict[str, int]:
    """Return how many knees have each KL grade; blanks, which are excluded from diagnosis, under ``n/a``."""
    counts = Counter("n/a" if item.kl_grade is None else str(item.kl_grade) for item in knees)
    return dict(sorted(counts.items()))
