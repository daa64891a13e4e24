"""Objects of an S3 store: get, put, list and remove, with timeouts, retries with backoff,
and errors that can be acted on.

The keys of the account come from the environment (``AWS_*``, also ``AWS_ENDPOINT_URL``) or the machine's
role; no error carries an address or a key. An object is whole or absent:
a store shows it when its last byte has arrived.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from srrd_ray.core.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from botocore.client import BaseClient

CONNECT_S = 5
READ_S = 20
ATTEMPTS = 6
"""Tries of one request, waits between them doubling up to 20 s; ``AWS_MAX_ATTEMPTS`` overrides."""
THREADS = 8
PART_BYTES = 32 * 2**20
REMOVED_AT_ONCE = 1000
ABSENT = ("404", "NoSuchKey", "NotFound")
TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412")
UNCONDITIONAL = ("NotImplemented", "501")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One object below a prefix: its key, its size in bytes and when it was written (seconds since 1970)."""

    key: str
    size: int
    changed: float


@cache
def client() -> BaseClient:
    """Return the client of this process.

    Raises
    ------
    ConfigError
        `s3-missing` where the extra is not installed.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise ConfigError(
            "s3-missing", "s3:// needs a library that is not installed", got=error.name or "",
            todo="pip install 'srrd-ray[s3]'",
        ) from error  # fmt: skip
    tries = int(os.environ.get("AWS_MAX_ATTEMPTS", ATTEMPTS))
    return boto3.client(
        "s3",
        config=Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            max_pool_connections=2 * THREADS,
            retries={"mode": "standard", "total_max_attempts": tries},
        ),
    )


def find_object(bucket: str, key: str) -> Entry | None:
    """Return the object at `key`, or none."""
    with _translate_errors(bucket):
        try:
            about = client().head_object(Bucket=bucket, Key=key)
        except Exception as error:
            if _error_code(error) in ABSENT:
                return None
            raise
    return Entry(key=key, size=int(about["ContentLength"]), changed=_seconds(about["LastModified"]))


def read(bucket: str, key: str, span: tuple[int, int] | None = None) -> bytes:
    """Return the bytes of an object, or of the half-open range `span`.

    Raises
    ------
    FileNotFoundError
        Where there is no such object.
    """
    header = {} if span is None else {"Range": f"bytes={span[0]}-{span[1] - 1}"}
    with _translate_errors(bucket):
        for remaining in reversed(range(ATTEMPTS)):
            try:
                data: bytes = client().get_object(Bucket=bucket, Key=key, **header)["Body"].read()
            except Exception as error:  # the client itself does not retry a body that broke off
                if not remaining or not _is_interrupted(error):
                    raise
            else:
                return data
    raise AssertionError("unreachable")


def read_stamped(bucket: str, key: str) -> tuple[bytes, str]:
    """Return the bytes of a small object, and the stamp (ETag) of this version of it.

    Raises
    ------
    FileNotFoundError
        Where there is no such object.
    """
    with _translate_errors(bucket):
        found = client().get_object(Bucket=bucket, Key=key)
        return found["Body"].read(), str(found["ETag"])


def write(bucket: str, key: str, data: bytes, *, new: bool = False, match: str = "") -> None:
    """Put a small object; with `new` only where there is none, with `match` only in place of that version.

    A store that says that it knows no conditions is written to without.

    Raises
    ------
    FileExistsError
        Where the condition does not hold: the store itself decides, so that of two writers one wins.
    """
    condition = {"IfNoneMatch": "*"} if new else {}
    condition |= {"IfMatch": match} if match else {}
    with _translate_errors(bucket):
        try:
            client().put_object(Bucket=bucket, Key=key, Body=data, **condition)
        except Exception as error:
            if condition and _error_code(error) in TAKEN:
                raise FileExistsError(key) from error
            if not condition or _error_code(error) not in UNCONDITIONAL:
                raise
            client().put_object(Bucket=bucket, Key=key, Body=data)


def upload(bucket: str, pairs: Sequence[tuple[Path, str]]) -> None:
    """Put local files, large ones in parts; an upload that fails leaves no object and no part."""
    from boto3.s3.transfer import TransferConfig

    how = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)

    def one(pair: tuple[Path, str]) -> None:
        client().upload_file(str(pair[0]), bucket, pair[1], Config=how)

    _run_parallel(bucket, one, pairs)


def download(bucket: str, pairs: Sequence[tuple[str, Path]]) -> None:
    """Fetch objects into local files whose folders exist."""
    from boto3.s3.transfer import TransferConfig

    how = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)

    def one(pair: tuple[str, Path]) -> None:
        client().download_file(bucket, pair[0], str(pair[1]), Config=how)

    _run_parallel(bucket, one, pairs)


def iterate_below(bucket: str, prefix: str, after: str = "") -> Iterator[Entry]:
    """Yield every object whose key begins with `prefix` and comes after `after`, sorted by key;
    one request a thousand.
    """
    with _translate_errors(bucket):
        start = {"StartAfter": after} if after else {}
        pages = client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **start)
        for page in pages:
            for item in page.get("Contents", ()):
                yield Entry(key=item["Key"], size=int(item["Size"]), changed=_seconds(item["LastModified"]))


def list_children(bucket: str, prefix: str) -> list[str]:
    """Return the names of what lies directly below `prefix`, objects and folders, sorted."""
    names: set[str] = set()
    with _translate_errors(bucket):
        pages = (
            client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        )
        for page in pages:
            names |= {item["Key"] for item in page.get("Contents", ())}
            names |= {item["Prefix"] for item in page.get("CommonPrefixes", ())}
    return sorted(name.removeprefix(prefix).rstrip("/") for name in names if name != prefix)


def exists_below(bucket: str, prefix: str) -> bool:
    """Return whether any key begins with `prefix`, by one request for one key."""
    with _translate_errors(bucket):
        return int(client().list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)["KeyCount"]) > 0


def remove(bucket: str, keys: Sequence[str]) -> None:
    """Remove objects, a thousand a request; those that are absent count as removed."""
    with _translate_errors(bucket):
        for at in range(0, len(keys), REMOVED_AT_ONCE):
            batch = [{"Key": key} for key in keys[at : at + REMOVED_AT_ONCE]]
            response = client().delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
            if response.get("Errors"):
                raise _store_error(bucket, str(response["Errors"][0].get("Code", "")))


def _run_parallel(bucket: str, do: object, items: Sequence[object]) -> None:
    assert callable(do)
    with _translate_errors(bucket):
        if len(items) == 1:
            do(items[0])
        elif items:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(do, items))


@contextmanager
def _translate_errors(bucket: str) -> Iterator[None]:
    """Turn errors of the client into `FileNotFoundError` or a `StoreError` without addresses and secrets."""
    try:
        yield
    except Exception as error:
        if not _is_client_error(error):
            raise
        code = _error_code(error)
        if code in ABSENT:
            raise FileNotFoundError(f"no such object in {bucket}") from None
        raise _store_error(bucket, code or type(error).__name__) from None


def _store_error(bucket: str, code: str) -> StoreError:
    if code == "NoSuchBucket":
        return StoreError(
            "bucket-missing",
            "no such bucket",
            where=f"s3://{bucket}",
            todo="Make it, or correct the address.",
        )
    if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoCredentialsError"):
        return StoreError(
            "store-denied", "the object store refuses", where=f"s3://{bucket}", got=code,
            todo="Check the AWS_* variables or the role of every node, and the policy of the bucket.",
        )  # fmt: skip
    return StoreError(
        "store-unreachable", "the object store does not answer as it should", where=f"s3://{bucket}",
        got=code,
        todo="Check AWS_ENDPOINT_URL and the network; run the same command again: finished work is kept.",
    )  # fmt: skip


def _is_interrupted(error: BaseException) -> bool:
    kind = type(error)
    return kind.__module__.startswith("urllib3.") or kind.__name__ in (
        "ResponseStreamingError",
        "IncompleteReadError",
    )


def _is_client_error(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("botocore", "boto3", "s3transfer", "urllib3")


def _error_code(error: BaseException) -> str:
    """Return the store's own code of an error, also where the transfer has wrapped it."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        cause = cause.__cause__ or cause.__context__
    return ""


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
