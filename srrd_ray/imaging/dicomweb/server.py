"""Requests to a DICOMweb server: time-outs, a few retries, and errors that can be acted on.

Who asks is told by ``~/.netrc`` (or the file that ``NETRC`` names), or by a token that
``SRRD_DICOMWEB_TOKEN`` has for the host.
No error and no log line carries an address of a study, a login or an answer.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.imaging.dicom.library_warnings import quiet
from srrd_ray.imaging.dicomweb.address import Address

if TYPE_CHECKING:
    from dicomweb_client.web import DICOMwebClient
    from requests import PreparedRequest, RequestException

log = logging.getLogger(__name__)

TOKEN: Final = "SRRD_DICOMWEB_TOKEN"  # noqa: S105 - the name of the variable
CONNECT_S, READ_S = 10.0, 120.0
"""Seconds to reach the server, and to wait for its next bytes: some collect a series before they answer."""
WAITS_S = (1.0, 4.0, 16.0)
"""Before each further try of a request."""
PASSING = (408, 429, 500, 502, 503, 504)
"""What a server answers that may do better a little later."""
UNAUTHORIZED, FORBIDDEN = 401, 403
GARBLED = (ValueError, KeyError, TypeError, EOFError, struct.error, InvalidDicomError)
"""What the libraries raise of an answer that is not as the standard has it."""

Answer = TypeVar("Answer")
Search: TypeAlias = "Callable[[DICOMwebClient, int], Sequence[dict[str, dict[str, object]]]]"
"""A search, which is given how many answers are known, in DICOM JSON."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Server:
    """A server, and how it is asked."""

    host: str
    client: DICOMwebClient

    def ask(self, request: Callable[[DICOMwebClient], Answer]) -> Answer:
        """Return the answer to a request that may be made twice; it is, where the line or the server fails.

        Raises
        ------
        StoreError
            `dicomweb-unreachable`, `dicomweb-denied`, `dicomweb-refused`, `dicomweb-answer`.
        """
        from requests import RequestException

        for wait in (*WAITS_S, None):
            try:
                with quiet():
                    return request(self.client)
            except RequestException as error:
                if wait is None or not _passes(error):
                    raise _translated(error, self.host) from None  # its text has the address with the UIDs
            except GARBLED:
                raise _no_dicomweb(self.host) from None
            time.sleep(wait)
        raise AssertionError("unreachable")

    def search(self, request: Search) -> list[Dataset]:
        """Return all answers to a search; servers answer page by page."""
        found: dict[str, Dataset] = {}
        while True:
            page = self._page(request, len(found))
            fresh = {_identity(one): one for one in page if _identity(one) not in found}
            if not fresh:  # the end, or a server that knows no pages
                return list(found.values())
            found |= fresh

    def _page(self, request: Search, known: int) -> list[Dataset]:
        return self.ask(lambda client: [Dataset.from_json(one) for one in request(client, known)])


def connect(address: Address) -> Server:
    """Return the server of an address; nothing is sent yet.

    Raises
    ------
    ConfigError
        `dicomweb-missing` where the extra is not installed; `dicomweb-token`.
    """
    try:
        from dicomweb_client.web import DICOMwebClient
        from requests import Session
    except ImportError as error:
        raise ConfigError(
            "dicomweb-missing", "DICOMweb needs a library that is not installed", got=error.name or "",
            todo="pip install 'srrd-ray[dicomweb]'",
        ) from error  # fmt: skip
    logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)  # it logs UIDs
    if not address.encrypted and not _is_here(address):
        log.warning("%s is asked without encryption: use https:// where it has that", address.host)
    session, token = Session(), _token_for(address.host)
    if token:
        session.auth = _bearer(token)
    client = DICOMwebClient(
        address.service, session=session, timeout=(CONNECT_S, READ_S), permissive_uid=True, chunk_size=2**20
    )
    client.set_http_retry_params(retry=False)  # of a body in chunks the library sends the second time nothing
    return Server(host=address.host, client=client)


def _token_for(host: str) -> str:
    """Return the token of a host, with its port where the address has one; empty where it has none."""
    tokens: dict[str, str] = {}
    for entry in os.environ.get(TOKEN, "").split():
        name, _, token = entry.partition("=")
        if not (name and token) or name.lower() in tokens:
            raise ConfigError(
                "dicomweb-token", f"{TOKEN} does not say whom a token is for",
                got="a host twice" if name and token else "an entry without a host or without a token",
                expected=f"{TOKEN}=HOST=TOKEN, several with blanks between, each host once",
                todo=f"For this server: {host}=TOKEN.",
            )  # fmt: skip
        tokens[name.lower()] = token
    return tokens.get(host.lower(), "")


def _bearer(token: str) -> Callable[[PreparedRequest], PreparedRequest]:
    """Return what signs each request; a header of the session would be replaced by a login in netrc."""

    def sign(request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return sign


def _is_here(address: Address) -> bool:
    name = urlsplit(address.service).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _identity(one: Dataset) -> str:
    return str(one.get("SOPInstanceUID") or one.get("SeriesInstanceUID") or "")


def _passes(error: RequestException) -> bool:
    from requests.exceptions import ChunkedEncodingError, ConnectionError, SSLError, Timeout  # noqa: A004

    if error.response is not None:
        return error.response.status_code in PASSING
    lost = (ConnectionError, Timeout, ChunkedEncodingError)
    return isinstance(error, lost) and not isinstance(error, SSLError)


def _translated(error: RequestException, host: str) -> StoreError:
    from requests.exceptions import JSONDecodeError, SSLError

    status = error.response.status_code if error.response is not None else 0
    if isinstance(error, JSONDecodeError):
        return _no_dicomweb(host)
    if status in (UNAUTHORIZED, FORBIDDEN):
        return StoreError(
            "dicomweb-denied", "the server refuses who asks", where=host, got=f"HTTP {status}",
            todo=f"Give a login in ~/.netrc (machine HOST login … password …), or a token: "
            f"{TOKEN}={host}=TOKEN.",
        )  # fmt: skip
    if status and status not in PASSING:
        return StoreError(
            "dicomweb-refused", "the server refuses the request", where=host, got=f"HTTP {status}",
            todo="Check that the address begins with the root of the service, e.g. …/dicom-web; where "
            "results were sent, ask whether it takes segmentations, parametric maps and structured reports.",
        )  # fmt: skip
    if isinstance(error, SSLError):
        return StoreError(
            "dicomweb-unreachable", "the certificate of the server is not trusted", where=host,
            todo="Name the file of the authority of your house in REQUESTS_CA_BUNDLE.",
        )  # fmt: skip
    return StoreError(
        "dicomweb-unreachable", f"the server did not answer in {len(WAITS_S) + 1} tries", where=host,
        got=f"HTTP {status}" if status else type(error).__name__,
        todo="Check address, network and server, then run the same command again: what was done is kept.",
    )  # fmt: skip


def _no_dicomweb(host: str) -> StoreError:
    return StoreError(
        "dicomweb-answer", "the answer of the server is not DICOMweb", where=host,
        todo="Check the address: it begins with the root of the DICOMweb service, e.g. …/dicom-web.",
    )  # fmt: skip
