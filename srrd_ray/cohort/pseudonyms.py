"""Pseudonyms of participants: a keyed hash, which nobody can reverse without the key."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from pathlib import Path

from srrd_ray.cohort.tables import Cohort
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import CohortKnee, Knee, Series

SHORTEST_KEY = 16
LENGTH = 12


def pseudonym(participant: str, key: bytes) -> str:
    """Return the pseudonym of `participant`, twelve letters and digits: HMAC-SHA-256 under `key`, base 32.

    Raises
    ------
    ConfigError
        `key-too-short` for a key of less than 16 bytes, which could be guessed.
    """
    if len(key) < SHORTEST_KEY:
        raise ConfigError(
            "key-too-short",
            "the key of the pseudonyms can be guessed",
            got=f"{len(key)} bytes",
            expected=f"at least {SHORTEST_KEY} random bytes in a file that only you can read",
        )
    digest = hmac.new(key, participant.encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode()[:LENGTH]


def read_key(path: Path) -> bytes:
    """Return the secret that a file holds, without white space at its ends.

    Raises
    ------
    ConfigError
        `key-unreadable`, without the path: it may tell who keeps the key.
    """
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(
            "key-unreadable", "cannot read the key of the pseudonyms", got=type(error).__name__,
            todo="Make one: head -c 32 /dev/urandom | base64 > key; chmod 600 key",
        ) from error  # fmt: skip


def pseudonymise(cohort: Cohort, key: bytes) -> Cohort:
    """Return the cohort with every participant under a pseudonym;
    paths still lead to the images as they lie on disk.

    Raises
    ------
    ConfigError
        `key-too-short`, or `key-collision` where two participants would share a pseudonym.
    """
    names = {item.knee.participant: pseudonym(item.knee.participant, key) for item in cohort.knees}
    if len(set(names.values())) < len(names):
        raise ConfigError("key-collision", "two participants share a pseudonym", todo="Take another key.")
    knees = sorted(
        (_rename(item, names[item.knee.participant]) for item in cohort.knees), key=lambda k: k.knee.key
    )
    return Cohort(root=cohort.root, knees=tuple(knees))


def _rename(item: CohortKnee, name: str) -> CohortKnee:
    knee = Knee(participant=name, side=item.knee.side)
    return replace(item, knee=knee, ct=_series(item.ct, knee), mr=_series(item.mr, knee))


def _series(series: Series | None, knee: Knee) -> Series | None:
    return None if series is None else replace(series, knee=knee)
