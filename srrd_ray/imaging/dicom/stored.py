"""How the pixels of a DICOM file are stored: told by the bytes of their element, not the meta header alone.

A meta header may be missing or name another encoding than its data have; pydicom's parser overrules it. So
the element of the pixels is looked at where the parser stopped.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.dataset import FileDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from srrd_ray.core.errors import InputError

UNDEFINED = 0xFFFFFFFF
NATIVE_BITS = (8, 16, 32)
_PIECE = 1 << 20
_FLOATS = (b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00", b"\x7f\xe0\x00\x08", b"\x7f\xe0\x00\x09")
"""Tags of FloatPixelData and DoubleFloatPixelData, in both byte orders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """How the pixels of a file are stored.

    `offset` is where `count` little-endian uncompressed ones begin that need no parser, else none.
    `relabelled` where the meta header names no transfer syntax, or another one than the data have.
    """

    offset: int | None
    dtype: str
    bits: int
    count: int = 0
    relabelled: bool = False

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and largest value that can be stored."""
        signed = self.dtype[1] == "i"
        return (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) if signed else (0, (1 << self.bits) - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Element:
    """The element of the pixels as its first bytes have it."""

    little: bool
    explicit: bool
    size: int
    length: int


def describe_pixels(dataset: FileDataset, name: str, file: BinaryIO, start: int, size: int) -> Stored:
    """Return how the pixels are stored; the header ended at `start` of the `file` of `size` bytes.

    Raises
    ------
    InputError
        `dicom-truncated` for pixels shorter than rows × columns, `dicom-codec` for a compression without
        decoder, `dicom-high-bit` for pixels above the low bits, `dicom-pixels` where syntax and data differ.
    """
    named = dataset.file_meta.get("TransferSyntaxUID")
    syntax = UID(str(named)) if named else None
    allocated = int(dataset.get("BitsAllocated", 16))
    bits = min(int(dataset.get("BitsStored", allocated)), allocated)
    _check_high_bit(dataset, name, bits)
    dtype = f"<{'i' if dataset.get('PixelRepresentation') == 1 else 'u'}{max(1, allocated // 8)}"
    if syntax is not None and (syntax.is_deflated or syntax.is_compressed):
        _check_codec(syntax, name)
        return Stored(offset=None, dtype=dtype, bits=bits)
    file.seek(start)
    head = file.read(12)
    _check_integers(head, name)
    element = _parse_element(head)
    need = _expected_bytes(dataset, allocated)
    _check_length(element, name, need, size - start)
    relabelled = syntax is None or (element is not None and element.explicit == syntax.is_implicit_VR)
    plain = element is not None and element.little and element.length in {need, need + need % 2}
    fast = plain and (syntax is None or syntax.is_little_endian) and _is_plain(dataset, allocated)
    offset = start + element.size if fast and element is not None else None
    count = need // max(1, allocated // 8)
    return Stored(offset=offset, dtype=dtype, bits=bits, count=count, relabelled=relabelled)


def _parse_element(head: bytes) -> _Element | None:
    """Return the element of PixelData that begins with `head`, none where it is another one.

    An implicit length is no VR: read as a number, ``OB`` and ``OW`` are odd, and lengths are even.
    """
    little = head[:4] == b"\xe0\x7f\x10\x00"
    if len(head) < 8 or not (little or head[:4] == b"\x7f\xe0\x00\x10"):
        return None
    explicit = len(head) == 12 and head[4:6] in {b"OB", b"OW"} and head[6:8] == b"\0\0"
    length = struct.unpack("<I" if little else ">I", head[8:12] if explicit else head[4:8])[0]
    return _Element(little=little, explicit=explicit, size=12 if explicit else 8, length=length)


def _check_integers(head: bytes, name: str) -> None:
    """Refuse (`dicom-pixels`) floating-point pixels, whose element stands in place of PixelData."""
    if head[:4] in _FLOATS:
        raise InputError(
            "dicom-pixels",
            "the pixels are floating-point numbers",
            where=name,
            got="FloatPixelData or DoubleFloatPixelData",
            expected="PixelData of integers",
            todo="Export the series as integers with RescaleSlope, or convert it to NIfTI.",
        )


def _expected_bytes(dataset: FileDataset, allocated: int) -> int:
    """Return how many bytes all frames take; 0 where the header does not tell."""
    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    if not rows or not columns or allocated not in NATIVE_BITS:
        return 0
    return int(rows) * int(columns) * (allocated // 8) * int(dataset.get("NumberOfFrames") or 1)


def _check_length(element: _Element | None, name: str, need: int, rest: int) -> None:
    if element is not None and element.length == UNDEFINED:
        raise InputError(
            "dicom-pixels",
            "the pixels are compressed, the transfer syntax says that they are not",
            where=name,
            todo="Export the series again from its source; its meta header is wrong.",
        )
    found = 0 if element is None else min(element.length, max(0, rest - element.size))
    if found < max(need, 1):
        raise truncated_error(name, f"{found} bytes of pixels", f"{need} bytes")


def _check_high_bit(dataset: FileDataset, name: str, bits: int) -> None:
    high = dataset.get("HighBit")
    if isinstance(high, int) and high != bits - 1:
        raise InputError(
            "dicom-high-bit",
            "pixels are not kept in the low bits, or the header is wrong",
            where=name,
            got=f"HighBit {high}",
            expected=f"{bits - 1}, one less than BitsStored",
            todo="Convert the series, e.g. with dcmconv of DCMTK; readers differ in what they make of this.",
        )


def _is_plain(dataset: FileDataset, allocated: int) -> bool:
    """Whether nothing but integers of whole bytes has to be read, and pydicom would do no more."""
    return (
        allocated in NATIVE_BITS
        and dataset.get("SamplesPerPixel") == 1
        and dataset.get("PixelRepresentation") in (0, 1)
        and 1 <= int(dataset.get("BitsStored") or 0) <= allocated
        and dataset.get("PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
    )


def _check_codec(syntax: UID, name: str) -> None:
    if syntax.is_deflated or _is_decodable(syntax):
        return
    raise InputError(
        "dicom-codec",
        "compressed pixels without a decoder",
        where=name,
        got=syntax.name,
        todo=f"{syntax.name}: install srrd-ray[dicom], or export the series uncompressed.",
    )


def _is_decodable(syntax: UID) -> bool:
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:  # pydicom has no decoder, e.g. for video
        return False


def padding_range(dataset: FileDataset) -> tuple[int, int] | None:
    """Return the smallest and largest stored value that is padding, none where there is none."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [_as_stored(dataset, v) for v in (value, limit if isinstance(limit, int) else value)]
    return min(ends), max(ends)


def _as_stored(dataset: FileDataset, value: int) -> int:
    """Return a padding value with the sign of the pixels: many writers give -2000 as unsigned 63536."""
    bits = int(dataset.get("BitsAllocated", 16))
    if dataset.get("PixelRepresentation") == 1:
        return value - (1 << bits) if value >= 1 << (bits - 1) else value
    return value + (1 << bits) if value < 0 else value


def check_inflated(head: bytes, file: BinaryIO, name: str, limit: int) -> None:
    """Refuse (`image-too-large`) a deflated file that holds more than `limit` bytes, before it is parsed.

    `head` are the first bytes of the file. The parser inflates a file whole, whatever it holds.
    """
    if DeflatedExplicitVRLittleEndian.encode() not in head:
        return
    inflate, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    file.seek(144 + int.from_bytes(head[140:144], "little"))
    while piece := inflate.unconsumed_tail or file.read(_PIECE):
        try:
            total += len(inflate.decompress(piece, _PIECE))
        except zlib.error as error:
            raise truncated_error(name, "bytes that cannot be inflated", "a deflated dataset") from error
        if total > limit:
            raise InputError(
                "image-too-large", "the file inflates to more than is allowed", where=name,
                got=f"more than {limit / 2**30:.1f} GiB", todo="Export the series uncompressed.",
            )  # fmt: skip
        if inflate.eof:
            return
    raise truncated_error(name, f"{total} bytes inflated", "a whole dataset")


def truncated_error(name: str, got: str, expected: str) -> InputError:
    """Return the refusal of a file that ends early."""
    return InputError(
        "dicom-truncated",
        "a DICOM file is cut short",
        where=name,
        got=got,
        expected=expected,
        todo="Copy the series again from its source.",
    )
