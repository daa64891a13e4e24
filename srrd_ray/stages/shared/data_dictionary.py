"""What each column of the tables of `srrd infer` means: name, type, unit, range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import pandas as pd

from srrd_ray.core.bones import BONES
from srrd_ray.core.parameters import PARAMETER_OF, Parameter
from srrd_ray.core.records import COMPARTMENTS
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.record_files import write_record
from srrd_ray.storage.tables import write_table

Datatype: TypeAlias = Literal["string", "integer", "number", "boolean"]
REGIONS: Final = "table.csv"
KNEES: Final = "knees.csv"
FILE: Final = "dictionary.json"
PANDAS: Final[Mapping[Datatype, str]] = MappingProxyType(
    {"string": "string", "integer": "Int64", "number": "float64", "boolean": "boolean"}
)
WORLD: Final = "DICOM patient coordinates (LPS: + to the patient's left, back and head) of the CT"


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column; `unit` is empty where it has none, and bounds are null where there are none."""

    name: str
    datatype: Datatype
    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One table, in the two files that hold it, CSV and Parquet; `row` says what a row is."""

    files: tuple[str, str]
    row: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dictionary:
    """``dictionary.json``: the tables of a folder."""

    tables: tuple[Table, ...]


def write_rows(out: Path, table: Table, rows: pd.DataFrame) -> tuple[Path, ...]:
    """Return the two files of a table in the folder `out` after writing its rows.

    Numbers have five decimals in the CSV. Both have all columns and their types, also where values are
    missing.
    """
    kinds = {column.name: PANDAS[column.datatype] for column in table.columns}
    typed = rows.reindex(columns=list(kinds)).astype(kinds)
    text, parquet = (out / file for file in table.files)
    write_text(text, typed.to_csv(index=False, float_format="%.5f"))
    write_table(parquet, typed)
    return text, parquet


def write_dictionary(path: Path, *tables: Table) -> None:
    """Write what the tables of a folder mean."""
    write_record(path, Dictionary(tables=tables), "dictionary")


def regions_table() -> Table:
    """Return what ``table.csv`` means: a row a bone and compartment."""
    count = Column(name="cubes", datatype="integer", description="cubes that were read in it", minimum=1)
    means = tuple(_mean(about, "mean over the cubes") for about in PARAMETER_OF.values())
    spreads = tuple(
        _spread(about.cubes_sd, about, "SD over the cubes of the mean values, divided by n")
        for about in PARAMETER_OF.values()
    )
    columns = (*_region(), count, *means, *spreads)
    return Table(
        files=(REGIONS, "table.parquet"), row="subchondral bone of one compartment of a bone", columns=columns
    )


def cubes_table() -> Table:
    """Return what ``cubes.csv`` means: a row a cube."""
    places = tuple(
        Column(name=f"{axis}_mm", datatype="number", unit="mm", description=f"centre, {way}; {WORLD}")
        for axis, way in (("x", "towards the left"), ("y", "towards the back"), ("z", "towards the head"))
    )
    depth = Column(
        name="depth_mm", datatype="number", unit="mm", description="of the centre under the joint surface"
    )
    means = tuple(_mean(about, "mean of its predictive distribution") for about in PARAMETER_OF.values())
    spreads = tuple(
        _spread(about.predictive_sd, about, "SD of its predictive distribution")
        for about in PARAMETER_OF.values()
    )
    columns = (*_region(), *places, depth, *means, *spreads)
    return Table(files=("cubes.csv", "cubes.parquet"), row="cube of subchondral bone", columns=columns)


def knees_table() -> Table:
    """Return what ``knees.csv`` means: a row a knee, two of a scan of both; code and message alone where it
    could not be read.
    """
    like = "the CT is like those of the training"
    chance = "of osteoarthritis; empty where it is not known"
    columns = (
        _text("ct", "path of the CT in the folder or list that was given, or its name"),
        _text("results", "folder of its results, beside this table"),
        _text("status", "done or failed"),
        _text("code", "code of the fault of a CT that could not be read"),
        _text("message", "that fault in words"),
        _text("side", "L or R, of the knee"),
        Column(name="in_distribution", datatype="boolean", description=like),
        _text("flags", "what to know before the values are used"),
        Column(name="probability", datatype="number", description=chance, minimum=0, maximum=1),
        Column(name="cubes", datatype="integer", description="cubes that were read", minimum=1),
        *_values_by_region(),
    )
    return Table(files=(KNEES, "knees_read.parquet"), row="CT of a knee", columns=columns)


def _text(name: str, description: str) -> Column:
    return Column(name=name, datatype="string", description=description)


def _region() -> tuple[Column, ...]:
    return _text("bone", " or ".join(BONES)), _text("compartment", " or ".join(COMPARTMENTS))


def _mean(about: Parameter, what: str, place: str = "") -> Column:
    low, high = about.support
    return Column(
        name=f"{place}{about.symbol}", datatype="number", unit=about.unit, minimum=low, maximum=high,
        description=f"{about.name}, {what}",
    )  # fmt: skip


def _spread(name: str, about: Parameter, what: str) -> Column:
    return Column(
        name=name, datatype="number", unit=about.unit, minimum=0, description=f"{about.name}, {what}"
    )


def _values_by_region() -> Iterator[Column]:
    for bone in BONES:
        for compartment in COMPARTMENTS:
            for about in PARAMETER_OF.values():
                what = f"mean over the cubes of the {compartment} {bone}"
                yield _mean(about, what, f"{bone}.{compartment}.")
