"""Addresses of a DICOMweb service, and of a study or a series in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from srrd_ray.core.errors import ConfigError

SCHEMES: Final = ("http", "https")
_PATH = re.compile(r"(?P<root>.*?)(/studies/(?P<study>[^/]+)(/series/(?P<series>[^/]+))?)?/?")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
UID_LENGTH = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A DICOMweb service, and the study or series in it that is meant; empty where none is.

    Parameters
    ----------
    service
        Root of the service, without a slash at its end.
    host
        Name of the machine, with the port where it is not the usual one.
    encrypted
        Whether what is sent is encrypted.
    """

    service: str
    host: str
    encrypted: bool
    study: str = ""
    series: str = ""


def is_address(text: str) -> bool:
    """Return whether a text of the command line is the address of a server, not a path.

    >>> is_address("https://pacs.example/dicom-web/studies/1.2.3"), is_address("s3://bucket/ct")
    (True, False)
    """
    return text.partition("://")[0].lower() in SCHEMES and "://" in text


def parse_address(text: str) -> Address:
    """Return the address of a service, a study or a series.

    Raises
    ------
    ConfigError
        `dicomweb-address`; the address is not repeated, as it may hold a password.

    Examples
    --------
    >>> found = parse_address("https://pacs.example/dicom-web/studies/1.2.3/series/1.2.4/")
    >>> found.service, found.study, found.series
    ('https://pacs.example/dicom-web', '1.2.3', '1.2.4')
    """
    parts = _split(text)
    if parts.username is not None or parts.password is not None:
        raise _refused("a login in the address", "a login in ~/.netrc, or SRRD_DICOMWEB_TOKEN=HOST=TOKEN")
    if parts.query or parts.fragment:
        raise _refused("a query or a fragment", "…/studies/STUDY/series/SERIES at the end, or nothing")
    found = _PATH.fullmatch(parts.path)
    assert found is not None  # every group may be absent
    uids = [found["study"] or "", found["series"] or ""]
    if re.search(r"/(studies|series|instances)(/|$)", found["root"]) or not all(map(_is_uid_or_absent, uids)):
        raise _refused(
            "a path that is none of DICOMweb", "the root, …/studies/UID or …/studies/UID/series/UID"
        )
    return Address(
        service=f"{parts.scheme}://{parts.netloc}{found['root']}",
        host=parts.netloc,
        encrypted=parts.scheme == "https",
        study=uids[0],
        series=uids[1],
    )


def parse_service(text: str) -> Address:
    """Return the address of a service alone.

    Raises
    ------
    ConfigError
        `dicomweb-address`.
    """
    found = parse_address(text)
    if found.study:
        raise _refused("a study", "the root of the service: the study is that of the CT")
    return found


def is_uid(text: str) -> bool:
    """Return whether a text has the form of a DICOM UID; leading zeros may be in it, as some scanners write.

    >>> is_uid("1.2.840.10008"), is_uid("../etc")
    (True, False)
    """
    return len(text) <= UID_LENGTH and _UID.fullmatch(text) is not None


def _is_uid_or_absent(text: str) -> bool:
    return not text or is_uid(text)


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port or an IPv6 address
        named = False
    if not named or parts.scheme not in SCHEMES or not text.isprintable() or " " in text:
        raise _refused("no address", "http:// or https://, a host, and the root of its DICOMweb service")
    return parts


def _refused(got: str, expected: str) -> ConfigError:
    return ConfigError(
        "dicomweb-address", "this is no address of DICOMweb that can be used", got=got, expected=expected,
        todo="E.g. https://pacs.example/dicom-web for --store, and with /studies/1.2.3 behind it for --ct.",
    )  # fmt: skip
