"""Small images and cohorts made for real, with patient data planted in every place that a hospital fills."""

from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume

CT, MR = UID("1.2.840.10008.5.1.4.1.1.2"), UID("1.2.840.10008.5.1.4.1.1.4")
ROOT = "1.2.826.0.1.3680043.10.1234."
NAME, BIRTH, MRN = "Winterbottom^Agatha", "19331207", "MRN4711008"
PLANTED = ("Winterbottom", "Agatha", BIRTH, "20240229", MRN, ROOT, "Elsewhere Infirmary", "093Y")
SHAPE = (12, 16, 20)
SPACING = (1.25, 0.5, 0.75)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.0, 0.8, -0.6, 0.2, -0.588, -0.784)

Edit = Callable[[int, Dataset], None]


def signal(lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a value at each point that tells where it is: linear in x, y and z with different slopes."""
    return np.asarray(lps @ np.array([3.0, -5.0, 7.0]) + 200.0)


def grid(orientation: Sequence[float] = AXIAL, first: Sequence[float] = (-40.0, 12.5, 300.25)) -> Geometry:
    row, column = (np.array(part) / np.linalg.norm(part) for part in (orientation[:3], orientation[3:]))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * SPACING[2], column * SPACING[1]
    affine[:3, 2] = np.cross(row, column) * SPACING[0]
    affine[:3, 3] = first
    return Geometry.from_affine(SHAPE, affine)


def series(
    folder: Path,
    *,
    geometry: Geometry | None = None,
    values: NDArray[np.integer] | None = None,
    kind: UID = CT,
    uid: str = "1",
    edit: Edit | None = None,
) -> list[Path]:
    """Write one classic DICOM series, its stored values those of `signal`, and return its files in order of position."""
    geometry = geometry or grid()
    folder.mkdir(parents=True, exist_ok=True)
    stored = voxels(geometry) if values is None else values
    files = []
    for k in range(len(stored)):
        dataset = _slice(geometry, stored[k], k, kind, uid)
        if edit is not None:
            edit(k, dataset)
        files.append(folder / f"IM{k:04d}_{uid}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


def voxels(geometry: Geometry) -> NDArray[np.int16]:
    index = np.moveaxis(np.indices(geometry.shape), 0, -1)
    return np.asarray(np.rint(signal(geometry.index_to_lps(index))), dtype=np.int16)


def assert_in_place(volume: Volume[np.int16] | Volume[np.float32], tolerance: float = 0.51) -> None:
    """Every voxel holds the value that belongs to its place in the patient."""
    index = np.moveaxis(np.indices(volume.geometry.shape), 0, -1)
    np.testing.assert_allclose(volume.array, signal(volume.geometry.index_to_lps(index)), atol=tolerance)


def _slice(geometry: Geometry, pixels: NDArray[np.integer], k: int, kind: UID, uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = UID(f"{ROOT}{uid}.{k + 1}")
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    dataset.Modality = "CT" if kind == CT else "MR"
    dataset.SeriesInstanceUID = f"{ROOT}{uid}"
    dataset.StudyInstanceUID = f"{ROOT}99"
    dataset.FrameOfReferenceUID = f"{ROOT}77"
    dataset.InstanceNumber = k + 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    _plant(dataset)
    _place(dataset, geometry, k)
    put_pixels(dataset, pixels)
    dataset.SliceThickness = "1.25"
    if kind == CT:
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", "0"
        dataset.KVP, dataset.ConvolutionKernel = "120", "B30f"
    else:
        dataset.EchoTime, dataset.RepetitionTime = "6.3", "2450"
    return dataset


def a_slice(pixels: NDArray[np.integer]) -> FileDataset:
    """Return one CT slice that holds `pixels`."""
    return _slice(grid(), pixels, 0, CT, "1")


def _plant(dataset: Dataset) -> None:
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = NAME, MRN, BIRTH
    dataset.PatientAge, dataset.PatientSex = "093Y", "F"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20240229"
    dataset.InstitutionName, dataset.ReferringPhysicianName = "Elsewhere Infirmary", NAME
    dataset.SeriesDescription = f"knee of {NAME}"
    dataset.StudyDescription = f"<script>alert('{MRN}')</script>"
    dataset.Manufacturer, dataset.ManufacturerModelName = f"SIEMENS for {NAME}", NAME
    dataset.ProtocolName, dataset.AccessionNumber = NAME, MRN
    block = dataset.private_block(0x0029, "ELSEWHERE", create=True)
    block.add_new(0x01, "LO", NAME)


def _place(dataset: Dataset, geometry: Geometry, k: int) -> None:
    affine = geometry.affine
    dataset.ImagePositionPatient = [f"{v:.9g}" for v in geometry.index_to_lps((k, 0, 0))]
    cosines = [affine[:3, i] / np.linalg.norm(affine[:3, i]) for i in (0, 1)]
    dataset.ImageOrientationPatient = [f"{v:.9g}" for v in np.concatenate(cosines)]
    dataset.PixelSpacing = [f"{np.linalg.norm(affine[:3, i]):.9g}" for i in (1, 0)]


def put_pixels(dataset: Dataset, pixels: NDArray[np.integer]) -> None:
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<")).tobytes()


def encode(dataset: Dataset, syntax: str | None) -> None:
    """Change the transfer syntax of a slice; compressed ones are compressed."""
    if syntax is None:
        return
    uid = UID(syntax)
    if uid.is_compressed and not uid.is_deflated:
        plugin = {"1.2.840.10008.1.2.5": "pydicom"}.get(syntax, "pyjpegls")
        dataset.compress(uid, encoding_plugin=plugin, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = uid


def nifti(
    path: Path,
    values: NDArray[np.generic],
    affine_ras: ArrayLike | None = None,
    *,
    qform: int = 1,
    sform: int = 1,
    unit: str = "mm",
) -> Path:
    """Write a NIfTI file of (x, y, z, …) values; planted text goes into its description."""
    affine = np.diag([-0.5, -0.5, 1.0, 1.0]) if affine_ras is None else np.asarray(affine_ras)
    image = nib.Nifti1Image(values, None if not (qform or sform) else affine)
    image.header.set_xyzt_units(unit)
    if qform or sform:
        image.set_sform(affine, code=sform)
        image.set_qform(affine, code=qform)
    image.header["descrip"] = NAME.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def bone(shape: tuple[int, int, int] = (20, 24, 16)) -> NDArray[np.int16]:
    """Return (x, y, z) Hounsfield units: air, soft tissue and a bone that is different along every axis."""
    x, y, z = np.indices(shape)
    values = np.full(shape, -1000, dtype=np.int16)
    values[2:-2, 2:-2] = 40
    values[5:12, 6:20, 1:-4] = (300 + 9 * x + 5 * y + 3 * z)[5:12, 6:20, 1:-4]
    return values


def cohort(root: Path, people: Sequence[str] = ("A1", "B2"), sides: Sequence[str] = ("L",)) -> Path:
    """Write a sound cohort: CT and MR of every person and side as NIfTI, each knee with its own voxels."""
    rows, knees = ["participant_id\tage\tsex"], ["participant_id\tside\tkl_grade\toa"]
    for n, person in enumerate(people):
        rows.append(f"{person}\t{50 + n}\tF")
        for m, side in enumerate(sides):
            knees.append(f"{person}\t{side}\t{n % 5}\t{n % 2}")
            stem = f"sub-{person}_side-{side}"
            own = bone() + np.int16(7 * n + 3 * m)
            nifti(root / f"sub-{person}" / "ct" / f"{stem}_ct.nii.gz", own)
            nifti(root / f"sub-{person}" / "mr" / f"{stem}_mr.nii.gz", (own + 1000).astype(np.uint16))
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    (root / "knees.tsv").write_text("\n".join(knees) + "\n")
    return root


def uid() -> UID:
    """Return a new UID."""
    return generate_uid()


def enhanced(
    path: Path, geometry: Geometry | None = None, *, echoes: Sequence[float] = (6.3,), order: int = 1
) -> Path:
    """Write one enhanced multiframe file: geometry in functional groups, frames interleaved by echo."""
    geometry = geometry or grid()
    ct = len(echoes) == 1
    base = _slice(geometry, voxels(geometry)[0], 0, CT if ct else MR, "1")
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(base, tag)
    for tag in ("RescaleSlope", "RescaleIntercept", "EchoTime"):
        if tag in base:
            delattr(base, tag)
    kind = "1.2.840.10008.5.1.4.1.1.2.1" if ct else "1.2.840.10008.5.1.4.1.1.4.1"
    base.SOPClassUID = base.file_meta.MediaStorageSOPClassUID = UID(kind)
    frames = [(k, echo) for k in range(geometry.shape[0])[::order] for echo in echoes]
    base.SharedFunctionalGroupsSequence = [_shared(geometry)]
    base.PerFrameFunctionalGroupsSequence = [_frame(geometry, k, echo, ct) for k, echo in frames]
    base.NumberOfFrames = len(frames)
    stored = np.stack([voxels(geometry)[k] + int(10 * (echo - echoes[0])) for k, echo in frames])
    put_pixels(base, stored)
    path.parent.mkdir(parents=True, exist_ok=True)
    base.save_as(path, enforce_file_format=True)
    return path


def _group(**values: object) -> list[Dataset]:
    group = Dataset()
    for tag, value in values.items():
        setattr(group, tag, value)
    return [group]


def _shared(geometry: Geometry) -> Dataset:
    template = Dataset()
    _place(template, geometry, 0)
    shared = Dataset()
    shared.PlaneOrientationSequence = _group(ImageOrientationPatient=template.ImageOrientationPatient)
    shared.PixelMeasuresSequence = _group(PixelSpacing=template.PixelSpacing, SliceThickness="1.25")
    return shared


def _frame(geometry: Geometry, k: int, echo: float, ct: bool) -> Dataset:
    template = Dataset()
    _place(template, geometry, k)
    frame = Dataset()
    frame.PlanePositionSequence = _group(ImagePositionPatient=template.ImagePositionPatient)
    if ct:
        values = {"RescaleSlope": "1", "RescaleIntercept": "0", "RescaleType": "HU"}
        frame.PixelValueTransformationSequence = _group(**values)
    else:
        frame.MREchoSequence = _group(EffectiveEchoTime=echo)
    return frame
