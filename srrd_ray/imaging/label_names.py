"""What the labels of a mask are called, and which bone a name means: file names, tables in headers, nnU-Net's
``dataset.json``, the segments of 3D Slicer and of DICOM.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import nibabel as nib
from nibabel.filebasedimages import ImageFileError

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.records import Side
from srrd_ray.imaging.folder_images import VOLUMES
from srrd_ray.imaging.source import Format

Names = Mapping[int, str]
DATASET: Final = "dataset.json"
MOST_BYTES: Final = 1 << 20
"""Of a ``dataset.json`` or a header that is looked through for names."""
SIDES: Final[Mapping[str, Side]] = {"left": "L", "l": "L", "right": "R", "r": "R"}
NOT_WHOLE: Final = frozenset((
    "artery", "bml", "cancellous", "cartilage", "component", "cortex", "cortical", "cyst", "edema", "implant",
    "lesion", "ligament", "marrow", "muscle", "nerve", "oedema", "osteophyte", "plate", "prosthesis",
    "subchondral", "trabecular", "vein", "vessel",
))  # fmt: skip
"""Words beside the name of a bone that make it something else than the whole bone."""
_TABLE = re.compile(rb"<LabelTable>.*?</LabelTable>", re.DOTALL)
_LABEL = re.compile(r'<Label\b[^>]*\bKey="(\d+)"[^>]*>\s*(?:<!\[CDATA\[)?([^\]<]*)')
_SEGMENT = re.compile(r"^Segment(\d+)_(Name|LabelValue|Layer):=(.*)$", re.MULTILINE)


class NamedBone(NamedTuple):
    """A bone, and its side where the name says it."""

    bone: BoneName
    side: Side | None


def bone_in_name(name: str) -> NamedBone | None:
    """Return the bone that a name means, with its side where it says one; null for anything else.

    Examples
    --------
    >>> bone_in_name("femur_left"), bone_in_name("sub-01_side-R_desc-tibia_mask")
    (NamedBone(bone='femur', side='L'), NamedBone(bone='tibia', side='R'))
    >>> bone_in_name("Right Femur").side, bone_in_name("femur_cartilage"), bone_in_name("femur and tibia")
    ('R', None, None)
    """
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    found = {bone for bone in BONES if bone in words}
    if len(found) != 1 or NOT_WHOLE & set(words):
        return None
    sides = {SIDES[word] for word in words if word in SIDES}
    return NamedBone(found.pop(), sides.pop() if len(sides) == 1 else None)


def stem_of(path: Path) -> str:
    """Return the name of an image without the ending of its format.

    >>> stem_of(Path("a.seg.nrrd")), stem_of(Path("femur.nii.gz"))
    ('a.seg', 'femur')
    """
    name = path.name
    for ending in sorted((*VOLUMES, ".ome.zarr", ".zarr", ".dcm"), key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def names_in_file(path: Path, kind: Format) -> Names:
    """Return what the file itself calls its labels: NIfTI with a label table, 3D Slicer's ``.seg.nrrd``."""
    match kind:
        case "nifti":
            return _names_in_nifti(path)
        case "nrrd":
            with path.open("rb") as file:
                head = file.read(MOST_BYTES).partition(b"\n\n")[0].replace(b"\r", b"")
            return _names_of_segments(head.decode("utf-8", errors="replace"))
        case _:
            return {}


def names_beside(path: Path) -> Names:
    """Return the labels of nnU-Net's ``dataset.json`` beside a prediction; none without one."""
    file = path.parent / DATASET
    if not file.is_file():
        return {}
    with file.open("rb") as stream:
        text = stream.read(MOST_BYTES)
    try:
        labels = json.loads(text)["labels"]
        return _names_of_dataset(labels)
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _names_of_dataset(labels: Mapping[str, object]) -> Names:
    """Return names by label: version 2 writes name and label, version 1 label and name; regions have several.

    >>> _names_of_dataset({"background": 0, "femur": 1}), _names_of_dataset({"0": "background", "2": "tibia"})
    ({0: 'background', 1: 'femur'}, {0: 'background', 2: 'tibia'})
    """
    if all(key.isdigit() for key in labels):
        return {int(key): str(name) for key, name in labels.items()}
    return {label: name for name, label in labels.items() if isinstance(label, int)}


def _names_in_nifti(path: Path) -> Names:
    """Return the label table that TotalSegmentator and Connectome Workbench put into the extended header."""
    try:
        extensions = nib.load(path).header.extensions
    except (ImageFileError, OSError, ValueError, EOFError):
        return {}  # whoever reads the voxels says what is wrong with the file
    for extension in extensions:
        content = extension.get_content()
        raw = content if isinstance(content, bytes) else str(content).encode()
        found = _TABLE.search(raw[:MOST_BYTES])
        if found is not None:
            labels = _LABEL.findall(found[0].decode("utf-8", errors="replace"))
            return {int(key): name.strip() for key, name in labels}
    return {}


def _names_of_segments(header: str) -> Names:
    r"""Return the names of the segments of one layer.

    >>> _names_of_segments("Segment0_Name:=Femur\nSegment0_LabelValue:=3\nSegment0_Layer:=0")
    {3: 'Femur'}
    """
    segments: dict[str, dict[str, str]] = {}
    for number, field, value in _SEGMENT.findall(header):
        segments.setdefault(number, {})[field] = value.strip()
    return {
        int(one["LabelValue"]): one["Name"]
        for one in segments.values()
        if one.get("LabelValue", "").isdigit() and "Name" in one
    }
