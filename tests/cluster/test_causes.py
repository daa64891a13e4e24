"""What Ray raises holds the error of ours as an object."""

from __future__ import annotations

import errno
import os

import pytest
from ray import cloudpickle
from ray.exceptions import RayTaskError
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError
from ray.tune import TuneError

from srrd_ray.cluster.causes import own_error
from srrd_ray.core.errors import InputError, StoreError, TrainingError

DIVERGED = TrainingError("loss-not-finite", "the loss is not finite", where="student", todo="Lower lr.")
FULL = StoreError("output-full", "the output takes no more bytes")


def in_task(error: Exception) -> Exception:
    """What `ray.get` raises for a task that failed."""
    raised: Exception = RayTaskError("task", "Traceback …", error).as_instanceof_cause()
    return raised


@pytest.mark.parametrize(
    "raised",
    [
        DIVERGED,
        in_task(DIVERGED),
        WorkerGroupError("words", {0: RuntimeError("connection closed by peer"), 1: DIVERGED}),
        WorkerGroupError("words", {1: in_task(DIVERGED)}),
        ControllerError(in_task(DIVERGED)),
        in_task(WorkerGroupError("words", {0: DIVERGED})),
    ],
    ids=["itself", "task", "one worker of two", "task of a worker", "controller", "training in a task"],
)
def test_the_error_comes_back_with_all_its_fields(raised: Exception) -> None:
    found = own_error([cloudpickle.loads(cloudpickle.dumps(raised))])
    assert type(found) is TrainingError
    assert str(found) == str(DIVERGED)
    assert found.todo == "Lower lr."


def test_an_error_that_another_was_raised_from_is_found() -> None:
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("Ray's own") from DIVERGED
    assert own_error([caught.value]) is DIVERGED


def test_lost_storage_counts_before_any_other_error() -> None:
    assert own_error([WorkerGroupError("words", {0: DIVERGED, 1: FULL})]) is FULL
    assert own_error([in_task(DIVERGED), in_task(FULL)]) is FULL


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_44_a_full_disk_under_what_ray_writes_is_known_by_the_number_of_its_error(code: int) -> None:
    for raised in (
        OSError(code, "words in another language"),
        TuneError(f"Failure # 1: {os.strerror(code)}"),
    ):
        found = own_error([raised])
        assert found is not None
        assert (type(found), found.code) == (StoreError, "output-full")


def test_a_checkpoint_that_an_object_store_refused_is_lost_storage() -> None:
    words = "When creating key 'run/checkpoint' in bucket 'b': AWS Error SERVICE_UNAVAILABLE during PutObject: 503"
    found = own_error([WorkerGroupError("words", {0: OSError(words), 1: DIVERGED})])
    assert found is not None
    assert (type(found), found.code, found.got) == (
        StoreError,
        "store-unreachable",
        "AWS Error SERVICE_UNAVAILABLE",
    )


def test_words_alone_are_no_lost_storage() -> None:
    quoting = InputError("dicom-gap", "the text quotes [output-full] and No space left on device")
    assert own_error([in_task(quoting)]) is quoting
    assert own_error([RuntimeError(str(FULL)), OSError(errno.EACCES, "Permission denied")]) is None
    assert own_error([]) is None
