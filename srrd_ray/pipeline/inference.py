"""Knees read from CT alone, one or a folder of them; the same command again reads what is new or changed."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.errors import ConfigError, InputError
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.one_line import printable
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import Fault, Outcome, Side
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.executor import Executor, PlainLoop
from srrd_ray.execution.listeners import ProgressLog
from srrd_ray.execution.lock import LOCK, locked
from srrd_ray.execution.runner import Runner, Where
from srrd_ray.execution.work import Produced, Result, Task, WorkItem
from srrd_ray.imaging.bone_masks import find_mask
from srrd_ray.imaging.dicomweb.address import Address
from srrd_ray.imaging.dicomweb.store import store
from srrd_ray.imaging.label_names import DATASET
from srrd_ray.pipeline.ct_images import ONE, name_images, relative_name, side_in_name
from srrd_ray.stages.infer import (
    NAME,
    PAGE,
    RECORD,
    REGIONS,
    BoneMask,
    InferenceModel,
    InferenceRecord,
    Options,
    hash_inputs,
    infer,
)
from srrd_ray.stages.shared import data_dictionary
from srrd_ray.stages.shared.knee_files import ResultFormat
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.outputs import require_outside
from srrd_ray.storage.parallel import parallel_map
from srrd_ray.storage.paths import list_sizes
from srrd_ray.storage.record_files import read_record
from srrd_ray.storage.tables import escape_formula

log = logging.getLogger(__name__)

KNEES = data_dictionary.KNEES
BOTH_KNEES = "both-knees"
SIDES: tuple[Side, ...] = ("L", "R")
Row: TypeAlias = dict[str, str | float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class InferenceRequest:
    """A CT, a folder of them, or a list of them (`ct_images`), to be read by a model into the folder `out`.

    Of several each CT gets a folder of its own below `out`; of a scan of both knees each knee, in folders L
    and R.
    `side` is null where the names of the files or the anatomy decide. `bone_mask` are the user's own bones: a
    file or folder for one CT, a folder with one of the same name for each of several; `bone_labels` say which
    label is which bone. `formats` are those of the results, beside NIfTI and tables; where empty, DICOM of
    each CT that is a DICOM series. `store` is the DICOMweb server that is sent those in DICOM, which are then
    wanted by name.
    """

    ct: Path
    model: Path
    out: Path
    side: Side | None = None
    bone_mask: Path | None = None
    bone_labels: tuple[tuple[BoneName, int], ...] = ()
    formats: tuple[ResultFormat, ...] = ()
    store: Address | None = None
    cpus: int = 0

    def options_of(self, image: Path) -> Options:
        """Return how a CT is read."""
        wanted: tuple[ResultFormat, ...] = () if self.store is None else ("dicom",)
        formats = tuple(dict.fromkeys((*self.formats, *wanted)))
        return Options(side=self.side or side_in_name(image), mask=self.mask_of(image), formats=formats)

    def folder_of(self, name: str, images: Mapping[str, Path]) -> Path:
        """Return the folder of results of an image: that of all where there is one."""
        return self.out if images[name] == self.ct else self.out / name

    def mask_of(self, image: Path) -> BoneMask | None:
        """Return the mask of a CT, none where the bones are to be found."""
        if self.bone_mask is None:
            return None
        root = self.bone_mask.resolve()  # a job leaves its working directory
        path = root if image == self.ct else find_mask(root, Path(relative_name(image, self.ct)))
        return BoneMask(path=path, labels=self.bone_labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Infer:
    """Reads the CT that a work item names."""

    images: Mapping[str, Path]
    options: Mapping[str, Options]
    folders: Mapping[str, Path]
    model: InferenceModel

    def __call__(self, item: WorkItem) -> Produced:
        image, folder = self.images[item.name], self.folders[item.name]
        options = self.options[item.name]
        try:
            return Produced(paths=infer(image, self.model, folder, options))
        except InputError as error:
            if error.code != BOTH_KNEES or options.side is not None:
                raise
        return self._read_both(image, folder, options)

    def _read_both(self, image: Path, folder: Path, options: Options) -> Produced:
        """Return what was read of each knee of a scan of both, in a folder of its side; one may fail.

        Raises
        ------
        InputError
            That of the first, where both fail.
        """
        paths: list[Path] = []
        faults: list[InputError] = []
        for side in SIDES:
            try:
                paths += infer(image, self.model, folder / side, replace(options, side=side))
            except InputError as error:
                faults.append(_of_side(error, side))
        if not paths:
            raise faults[0]
        failed = (
            Outcome(knee=None, stage=NAME, status="failed", seconds=0.0, error=Fault.from_error(fault))
            for fault in faults
        )
        return Produced(paths=tuple(paths), failed=tuple(failed))


def infer_all(request: InferenceRequest, make_executor: Callable[[ClusterConfig], Executor]) -> int:
    """Return the exit code: 0, or 1 where a CT of a folder could not be read.

    Raises
    ------
    InputError
        Any fault of a single CT.
    ConfigError
        `option-invalid`, `folder-empty`, `list-empty`, `list-repeats`, `output-in-input`, `model-missing`.
    StoreError
        `model-altered`, `output-locked`, `output-unwritable`; as `store`.
    """
    if request.bone_labels and request.bone_mask is None:
        raise ConfigError("option-invalid", "--bone-label is of a mask", expected="--bone-mask MASK with it")
    if request.ct.is_dir():
        require_outside(request.out, request.ct, "the results would be inside the folder of the CTs")
    model = InferenceModel.at(request.model)
    images = name_images(request.ct)
    one = images.get(ONE) == request.ct
    log.info("%-16s %d to read", NAME, len(images))  # the first is there after half a minute
    root = request.out.resolve()
    executor = PlainLoop() if one else make_executor(ClusterConfig(cpus=request.cpus))
    with locked(root), Runner(executor=executor, listeners=() if one else (ProgressLog(),)) as runner:
        # the error of a single CT is the error of the command
        where: Where = "here" if one else "spread"
        items = _items(request, model, images)
        results = {}
        for item, result, _ in runner.run_items(_task(request, model, images), items, where=where):
            results[item.name] = result
            _log_flags(item.name, root, result)
            if one:
                _log_failed(item.name, result)
        if not one:
            _write_knees(request, images, results)
        if request.store is not None:
            store(_dicom_files(root, list(results.values())), request.store)
    pages = [request.out / path.parent / PAGE for path in _records(results.get(ONE))] if one else []
    sys.stdout.writelines(f"{path}\n" for path in pages or [request.out / KNEES])
    return 1 if any(_faults(result) for result in results.values()) else 0


def _of_side(error: InputError, side: Side) -> InputError:
    where = f"{error.where}, knee {side}".removeprefix(", ")
    return InputError(
        error.code, error.what, where=where, got=error.got, expected=error.expected, todo=error.todo
    )


def _faults(result: Result) -> list[Fault]:
    return [outcome.error for outcome in result.outcomes if outcome.error]


def _records(result: Result | None) -> list[Path]:
    """Return the records of the knees that were read of a CT, one or two, below the folder of all results."""
    outputs = result.sidecar.outputs if result is not None and result.sidecar is not None else ()
    return sorted(Path(one.path) for one in outputs if Path(one.path).name == RECORD)


def _log_flags(name: str, root: Path, result: Result) -> None:
    """Log what to know of a knee before its values are used, as its row and its page say it."""
    for path in _records(result):
        record = read_record(InferenceRecord, root / path, "inference")
        if record.flags:
            side = f" {record.side}" if path.parent.name in SIDES else ""
            log.warning("%-16s %s%s  %s", NAME, name, side, printable("; ".join(record.flags)))


def _log_failed(name: str, result: Result) -> None:
    for fault in _faults(result):
        log.warning("%-16s %s  %s", NAME, name, printable(fault.message))


def _dicom_files(root: Path, results: Sequence[Result]) -> list[Path]:
    """Return the results in DICOM of all CTs that were read, now or before."""
    done = [result.sidecar for result in results if result.sidecar is not None]
    return [root / one.path for sidecar in done for one in sidecar.outputs if one.path.endswith(".dcm")]


def _task(request: InferenceRequest, model: InferenceModel, images: Mapping[str, Path]) -> Task:
    root = request.out.resolve()  # a job leaves its working directory
    function = _Infer(
        images={name: path.resolve() for name, path in images.items()},
        options={name: request.options_of(path) for name, path in images.items()},
        folders={name: request.folder_of(name, images).resolve() for name in images},
        model=replace(model, folder=request.model.resolve()),
    )
    return Task(stage=NAME, layout=RunLayout(root=root), function=function, shared_storage_probe=root / LOCK)


def _items(request: InferenceRequest, model: InferenceModel, images: Mapping[str, Path]) -> list[WorkItem]:
    paths = list(images.values())
    hashes = parallel_map(
        lambda path: [hash_json(list_sizes(path)), *_hash_mask(request, path)], paths, request.ct
    )
    return [
        WorkItem(name=name, input_hash=hash_inputs(model, request.options_of(path), image))
        for name, path, image in zip(images, paths, hashes, strict=True)
    ]


def _hash_mask(request: InferenceRequest, image: Path) -> list[str]:
    """Return the hash of the mask of a CT with the names of its labels; nothing where there is none."""
    mask = request.mask_of(image)
    if mask is None or not mask.path.exists():
        return []
    beside = mask.path.parent / DATASET
    return [hash_json([mask.labels, list_sizes(mask.path), list_sizes(beside) if beside.is_file() else []])]


def _write_knees(
    request: InferenceRequest, images: Mapping[str, Path], results: Mapping[str, Result]
) -> None:
    rows = [row for name, image in images.items() for row in _rows(request, image, name, results[name])]
    root, about = request.out.resolve(), data_dictionary.knees_table()
    data_dictionary.write_rows(root, about, pd.DataFrame(rows))
    data_dictionary.write_dictionary(root / data_dictionary.FILE, about)


def parse_bone_labels(texts: Sequence[str]) -> tuple[tuple[BoneName, int], ...]:
    """Return which label is which bone; `option-invalid` for anything else.

    >>> parse_bone_labels(["femur=75", "tibia=2"])
    (('femur', 75), ('tibia', 2))
    """
    found: dict[BoneName, int] = {}
    for text in texts:
        name, _, number = text.partition("=")
        bone = next((bone for bone in BONES if bone == name.strip().lower()), None)
        if bone is None or bone in found or not number.strip().isdecimal() or int(number) == 0:
            raise ConfigError(
                "option-invalid", "--bone-label says the label of one bone", got=printable(text),
                expected=" and ".join(f"{bone}=LABEL once" for bone in BONES),
            )  # fmt: skip
        found[bone] = int(number)
    return tuple(found.items())


def _rows(request: InferenceRequest, image: Path, name: str, result: Result) -> Iterator[Row]:
    """Yield the rows of a CT, one a knee: where it is, whether it was read, and each parameter by region."""
    ct = escape_formula(printable(relative_name(image, request.ct)))
    for path in _records(result):
        row: Row = {"ct": ct, "results": path.parent.as_posix(), "status": "done"}
        yield row | {"code": None, "message": None} | _values(request.out / path.parent)
    for fault in _faults(result):
        message = escape_formula(printable(fault.message))
        yield {"ct": ct, "results": name, "status": "failed", "code": fault.code, "message": message}


def _values(folder: Path) -> Row:
    """Return what was read in one CT: the record, and each parameter by bone and compartment."""
    record = read_record(InferenceRecord, folder / RECORD, "inference")
    row: Row = {
        "side": record.side,
        "in_distribution": record.in_distribution,
        "flags": escape_formula("; ".join(record.flags)),
        "probability": record.probability,
        "cubes": record.cubes,
    }
    table = pd.read_csv(io.StringIO((folder / REGIONS).read_text(encoding="utf-8")))
    for region in table.to_dict("records"):
        place = f"{region['bone']}.{region['compartment']}"
        row |= {f"{place}.{parameter}": float(region[parameter]) for parameter in PARAMETERS}
    return row
