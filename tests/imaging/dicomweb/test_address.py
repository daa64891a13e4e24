"""Addresses of DICOMweb: what they name, and what is refused without being repeated."""

from __future__ import annotations

import pytest

from srrd_ray.core.errors import ConfigError
from srrd_ray.imaging.dicomweb.address import is_address, parse_address, parse_service

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "service", "study", "series"),
    [
        ("https://pacs.example/dicom-web", "https://pacs.example/dicom-web", "", ""),
        ("http://10.0.0.7:8042/dicom-web/", "http://10.0.0.7:8042/dicom-web", "", ""),
        ("https://pacs.example/a/b/rs/studies/1.2.3", "https://pacs.example/a/b/rs", "1.2.3", ""),
        ("https://pacs.example/studies/1.2.3/series/1.02.4/", "https://pacs.example", "1.2.3", "1.02.4"),
        ("HTTPS://[::1]:8042/studies/1.2", "https://[::1]:8042", "1.2", ""),
    ],
)
def test_an_address_is_a_service_and_what_is_meant_in_it(
    text: str, service: str, study: str, series: str
) -> None:
    found = parse_address(text)
    assert (found.service, found.study, found.series) == (service, study, series)
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        f"https://doctor:{SECRET}@pacs.example/dicom-web/studies/1.2",
        f"https://{SECRET}@pacs.example/dicom-web",
        f"https://pacs.example/dicom-web/studies/1.2?token={SECRET}",
        f"https://pacs.example/dicom-web/studies/{SECRET}",
        "https://pacs.example/dicom-web/studies/1.2/series/../../x",
        "https://pacs.example/dicom-web/studies/1.2/series/1.3/instances/1.4",
        "https://pacs.example/dicom-web/studies",
        "https://pacs.example/dicom-web/studies/" + "1" * 65,
        "https:///dicom-web",
        "https://pacs.example:99999/dicom-web",
        "https://pacs.example/dicom web",
        "https://pacs.example/\n",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="dicomweb-address") as refused:
        parse_address(text)
    assert SECRET not in str(refused.value)


def test_results_go_to_a_service_not_to_a_study() -> None:
    assert parse_service("https://pacs.example/rs").service == "https://pacs.example/rs"
    with pytest.raises(ConfigError, match="dicomweb-address"):
        parse_service("https://pacs.example/rs/studies/1.2")


@pytest.mark.parametrize("text", ["ct.nii.gz", "s3://bucket/ct", "/data/https:/x", "https:/pacs.example", ""])
def test_a_path_is_no_address(text: str) -> None:
    assert not is_address(text)
