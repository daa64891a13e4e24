"""A real S3 server on loopback: moto's, in this process, with a proxy-like switch that makes it fail on demand."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from uuid import uuid4
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest

from srrd_ray.storage import objects
from srrd_ray.storage.paths import parse_path

SECRET = "wJalr-the-secret-of-the-tests"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


PORT = _free_port()
VARIABLES = {
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Set before anything starts, so that the workers of Ray have them; no test can reach another store."""


@dataclass
class ObjectStore:
    """The server: its requests as (method, path with query), and a rule that answers some of them with an error."""

    app: WSGIApplication
    address: str = VARIABLES["AWS_ENDPOINT_URL"]
    requests: list[tuple[str, str]] = field(default_factory=list)
    refuse: Callable[[str, str], HTTPStatus | None] | None = None
    cut: int = 0
    """How many of the next answers to GET break off in the middle."""

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests.append((method, f"{path}?{environ.get('QUERY_STRING', '')}"))
        status = self.refuse(method, self.requests[-1][1]) if self.refuse else None
        if status is None:
            body = b"".join(self.app(environ, start))
            if method == "GET" and self.cut:
                self.cut -= 1
                body = body[: len(body) // 2]
            return [body]
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(f"{status.value} {status.phrase}", [("Content-Length", "0")])
        return [b""]

    def bucket(self) -> Path:
        """A new bucket as a place."""
        name = f"bucket-{uuid4().hex[:12]}"
        objects.client().create_bucket(Bucket=name)
        return parse_path(Path(f"s3://{name}"))

    @contextmanager
    def failing(self, rule: Callable[[str, str], HTTPStatus | None]) -> Iterator[None]:
        """Answer by `rule` for the length of a block."""
        before, self.refuse = self.refuse, rule
        try:
            yield
        finally:
            self.refuse = before


@contextmanager
def serving() -> Iterator[ObjectStore]:
    """Run the server for the length of a block, where `VARIABLES` say that it is."""
    server = pytest.importorskip("moto.server", reason="no S3 server: moto[server] is not installed")
    from werkzeug.serving import make_server

    store = ObjectStore(app=server.DomainDispatcherApplication(server.create_backend_app))
    listener = make_server("127.0.0.1", PORT, store, threaded=True)
    thread = Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        listener.shutdown()
        thread.join()
