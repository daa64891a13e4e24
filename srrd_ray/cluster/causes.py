"""The error of ours behind what Ray raises: Ray wraps and pickles exceptions, but keeps them as objects."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator

from ray.exceptions import RayTaskError
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError
from ray.tune import TuneError

from srrd_ray.core.errors import FREE_SPACE, NO_SPACE, SrrdError, StoreError, is_storage_lost

REFUSED = re.compile(r"AWS Error \w+")


def own_error(raised: Iterable[BaseException]) -> SrrdError | None:
    """Return the error of ours behind what Ray raised, or null; an error of lost storage comes first."""
    found = [error for one in raised for cause in _causes(one) if (error := _ours(cause)) is not None]
    return next((error for error in found if is_storage_lost(error)), found[0] if found else None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that it wraps, what it wraps most closely first."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting = [*_wrapped(one), *waiting]


def _wrapped(error: BaseException) -> list[BaseException]:
    found: list[BaseException | None] = [error.__cause__, error.__context__]
    match error:
        case RayTaskError():
            found.insert(0, error.cause)
        case WorkerGroupError():  # by rank; the others often fail because one did
            found = [*(error.worker_failures[rank] for rank in sorted(error.worker_failures)), *found]
        case ControllerError():
            found.insert(0, error.controller_failure)
    return [one for one in found if one is not None]


def _ours(cause: BaseException) -> SrrdError | None:
    """Return the error of ours for one exception; a full disk under Ray's own files is one as well."""
    if isinstance(cause, RayTaskError):  # it is of the class of what it wraps, but its text is a traceback
        return None
    if isinstance(cause, SrrdError):
        return cause
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return _output_full()
    # Ray writes checkpoints by Arrow, whose words alone tell that a store refused
    if isinstance(cause, OSError) and (refused := REFUSED.search(str(cause))):
        return _store_unreachable(refused[0])
    # Of an exception that cannot be pickled Tune keeps only the text.
    if isinstance(cause, TuneError) and any(words in str(cause) for words in NO_SPACE):
        return _output_full()
    return None


def _store_unreachable(got: str) -> StoreError:
    return StoreError(
        "store-unreachable", "the object store does not take what Ray writes", got=got,
        todo="Check AWS_ENDPOINT_URL, the AWS_* variables and the network; run the same command again: it "
        "goes on from the last checkpoint.",
    )  # fmt: skip


def _output_full() -> StoreError:
    return StoreError("output-full", "the output takes no more bytes", todo=FREE_SPACE)
