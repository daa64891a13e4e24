"""What leaves the hospital: words of this software, plain numbers, knees under running numbers, and nothing else."""

from __future__ import annotations

import pytest

from srrd_ray.core.errors import InputError, StoreError
from srrd_ray.core.scrub import Scrubber, known_words


@pytest.mark.parametrize(
    "secret",
    [
        "Mueller", "Smith^John", "O'Neil", "Jürgen", "Patel", "Chen",  # the last two are cited in captions
        "1954-03-02", "19540302", "02.03.1954", "1954/03/02", "3/2/1954", "1954", "14:03:22.123",
        "1.2.840.113619.2.55.3.604688119", "00012345", "4711000", "+49-171-5551234", "hans@clinic.org", "192.168.1.17",
        "/home/mueller/knees/x.dcm", "C:\\Users\\mueller", "~/mueller", "s3://clinic/mueller", "file:///mueller", "mueller.nii.gz",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "frame", ["no femur of {} in the image", "got ({}, 'L'), expected 2", "{}: [bone-not-found] '{}'."]
)
def test_names_dates_identifiers_and_paths_never_pass(secret: str, frame: str) -> None:
    found = Scrubber().scrub_text(frame.format(secret, secret))
    assert secret not in found
    assert "mueller" not in found.lower()
    assert found != frame


@pytest.mark.parametrize(
    "error",
    [
        InputError("bone-not-found", "no femur above a tibia in the image", got="bone 2 of 1.8 cm3",
                   expected="a knee CT in Hounsfield units, joint line inside",
                   todo="Check the modality, the units and the field of view of this image."),
        StoreError("store-unreachable", "the object store does not answer as it should", got="AccessDenied",
                   todo="Check AWS_ENDPOINT_URL and the network; run the same command again: finished work is kept."),
    ],
)  # fmt: skip
def test_a_message_of_ours_passes_whole(error: Exception) -> None:
    assert Scrubber().scrub_text(str(error)) == str(error)


def test_knees_have_the_same_running_number_everywhere() -> None:
    scrubber = Scrubber.for_participants(["017", "hans"])
    assert scrubber.scrub_text("sub-017_side-L and sub-hans") == "sub-n0001_side-L and sub-n0002"
    assert scrubber.scrub_text("got 017, expected (hans)") == "got n0001, expected (n0002)"
    assert (
        scrubber.scrub_text("sub-new_side-R, then sub-017_side-R.")
        == "sub-n0003_side-R, then sub-n0001_side-R."
    )
    assert scrubber.scrub_text("sub-017/ct/sub-017_side-L_ct.nii.gz") == "sub-n0001<path>"


def test_a_participant_whose_id_is_a_word_or_a_number_is_replaced_too() -> None:
    assert (
        Scrubber.for_participants(["bone", "7"]).scrub_text("no bone in 7 slices")
        == "no n0001 in n0002 slices"
    )


def test_a_number_in_quotes_is_a_value_from_outside() -> None:
    assert Scrubber().scrub_text("got '4711', expected 4711") == "got '<number>', expected 4711"


def test_the_time_of_day_stays_at_the_beginning_of_a_log_line_alone() -> None:
    assert Scrubber().scrub_line("21:33:02 register 21:33:02") == "21:33:02 register <number>"


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        ("bone-not-found", True),
        ("unexpected-KeyError", True),
        ("mueller-hans", False),
        ("unexpected-Mueller", False),
    ],
)
def test_only_codes_of_ours_and_types_of_errors_pass(code: str, passes: bool) -> None:
    assert Scrubber().scrub_code(code) == (code if passes else "<code>")


def test_data_keeps_its_shape_and_its_numbers() -> None:
    data = {"cluster": {"gpu": "auto", "cpus": 4}, "seed": 12345, "Mueller": ["1954-03-02", None, True]}
    assert Scrubber().scrub_data(data) == {
        "cluster": {"gpu": "auto", "cpus": 4}, "seed": 12345, "<word>": ["<number>", None, True],
    }  # fmt: skip


def test_the_vocabulary_holds_no_address() -> None:
    assert [word for word in known_words() if "://" in word or word.startswith("/")] == []
