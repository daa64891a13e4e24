"""Faults of an object store: what passes is waited out, what stays is told in bounded time, and no secret is said."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.storage import objects
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.paths import parse_path
from tests.object_store import SECRET, ObjectStore
from tests.test_cli import code_of, code_of_run

BOUNDED = pytest.mark.timeout(300)
"""Nothing waits for ever, on a slow machine either."""


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, s3: ObjectStore) -> Iterator[pytest.MonkeyPatch]:
    """A client of its own for a test that changes what the client depends on."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    objects.client.cache_clear()
    yield monkeypatch
    objects.client.cache_clear()


def test_a_store_that_fails_for_a_while_is_asked_again(bucket: Path, s3: ObjectStore) -> None:
    left = {"PUT": 2, "GET": 2}

    def sometimes(method: str, path: str) -> HTTPStatus | None:
        left[method] = left.get(method, 0) - 1
        return HTTPStatus.INTERNAL_SERVER_ERROR if left[method] >= 0 else None

    with s3.failing(sometimes):
        write_text(bucket / "a", "text")
        assert (bucket / "a").read_text() == "text"
    assert max(left.values()) < 0


def test_an_answer_that_breaks_off_is_asked_for_again(bucket: Path, s3: ObjectStore) -> None:
    write_text(bucket / "a", "text" * 1000)
    s3.cut = 2
    assert (bucket / "a").read_text() == "text" * 1000
    assert s3.cut == 0


def test_a_store_that_goes_on_failing_is_an_error_and_no_secret_is_said(
    elsewhere: pytest.MonkeyPatch, bucket: Path, s3: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with (
        s3.failing(lambda *_: HTTPStatus.INTERNAL_SERVER_ERROR),
        pytest.raises(StoreError, match="store-unreachable") as caught,
    ):
        write_text(bucket / "a", "text")
    for said in (str(caught.value), caplog.text):
        assert SECRET not in said
        assert s3.address not in said


@BOUNDED
def test_a_store_that_is_not_there_ends_with_code_3(
    elsewhere: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for code in (
        partial(code_of, "check", "s3://bucket/cohort"),
        partial(code_of_run, Path("s3://b/cohort"), tmp_path / "r"),
    ):
        assert code() == 3
        assert "store-unreachable" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@BOUNDED
def test_a_store_that_hangs_is_left_in_bounded_time(elsewhere: pytest.MonkeyPatch) -> None:
    elsewhere.setattr(objects, "READ_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        elsewhere.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        objects.client.cache_clear()
        with pytest.raises(StoreError, match="store-unreachable"):
            parse_path(Path("s3://bucket/a")).read_bytes()


def test_a_bucket_that_is_missing_or_forbidden_is_named(s3: ObjectStore, bucket: Path) -> None:
    with pytest.raises(StoreError, match=r"bucket-missing.*s3://nosuchbucket"):
        write_text(parse_path(Path("s3://nosuchbucket/a")), "text")
    with (
        s3.failing(lambda *_: HTTPStatus.FORBIDDEN),
        pytest.raises(StoreError, match="store-denied"),
    ):
        write_text(bucket / "a", "text")


def test_without_the_extra_the_way_to_install_it_is_told(elsewhere: pytest.MonkeyPatch) -> None:
    elsewhere.setitem(sys.modules, "boto3", None)
    with pytest.raises(ConfigError, match=r"s3-missing.*srrd-ray\[s3\]"):
        parse_path(Path("s3://bucket/a")).is_file()


def test_of_two_writers_of_a_new_object_one_wins(bucket: Path) -> None:
    objects.write(bucket.parts[1], "lock", b"one", new=True)
    with pytest.raises(FileExistsError):
        objects.write(bucket.parts[1], "lock", b"two", new=True)
    assert (bucket / "lock").read_bytes() == b"one"


def test_an_object_is_replaced_only_where_it_is_the_one_that_was_seen(bucket: Path) -> None:
    name = bucket.parts[1]
    objects.write(name, "lock", b"one", new=True)
    _, stamp = objects.read_stamped(name, "lock")
    objects.write(name, "lock", b"two", match=stamp)
    with pytest.raises(FileExistsError):
        objects.write(name, "lock", b"three", match=stamp)
    assert objects.read_stamped(name, "lock")[0] == b"two"
