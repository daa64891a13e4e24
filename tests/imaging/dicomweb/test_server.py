"""A server that fails, over a real line: what is tried again, how often, and what is said in the end."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.imaging.dicomweb import server as asking
from srrd_ray.imaging.dicomweb import store as storing
from srrd_ray.imaging.dicomweb.address import Address, parse_address, parse_service
from srrd_ray.imaging.dicomweb.fetch import fetch
from srrd_ray.imaging.dicomweb.server import TOKEN, connect
from srrd_ray.imaging.dicomweb.store import store
from tests.imaging import makers
from tests.imaging.dicomweb.orthanc import free_port

SECRET = "a-token-that-nobody-may-see"
SERIES = {"0020000E": {"vr": "UI", "Value": ["1.2.4"]}, "00080060": {"vr": "CS", "Value": ["CT"]}}
INSTANCE = {"00080018": {"vr": "UI", "Value": ["1.2.5"]}, "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]}}  # fmt: skip


@dataclass
class Failing:
    """A server that answers from a list, its last answer for ever, and keeps what it was asked."""

    port: int
    answers: list[Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and ``Authorization`` of each request."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def root(self) -> str:
        return f"http://{self.host}/rs"

    def address(self) -> Address:
        return parse_address(f"{self.root}/studies/1.2.3")

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append((handler.path, handler.headers.get("Authorization", "")))
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(handler)


@contextmanager
def listening() -> Iterator[Failing]:
    """Run a server for the length of a block."""
    found = Failing(port=free_port())

    class Handler(BaseHTTPRequestHandler):
        do_GET = do_POST = lambda self: found.answer(self)  # noqa: N815 - of the library

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", found.port), Handler)
    thread = Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    listener.shutdown()
    listener.server_close()
    thread.join()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Failing]:
    monkeypatch.setattr(asking, "WAITS_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(storing, "WAITS_S", (0.0, 0.0, 0.0))
    monkeypatch.delenv(TOKEN, raising=False)
    monkeypatch.setenv("NETRC", "/dev/null")
    with listening() as found:
        yield found


def say(
    status: int, body: object = b"", kind: str = "application/dicom+json", length: int | None = None
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return an answer; with a `length` above that of the body the line breaks in the middle."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def give(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data) if length is None else length))
        handler.end_headers()
        handler.wfile.write(data)

    return give


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def be_silent(handler: BaseHTTPRequestHandler) -> None:
    handler.rfile.read(1)  # until the other side goes


def lead_to(address: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def give(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", address)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return give


NOTHING = say(200, [])


@pytest.mark.parametrize("trouble", [say(503), say(429), hang_up, say(200, b"[", length=99)])
def test_what_passes_is_tried_again(
    failing: Failing, trouble: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    failing.answers = [trouble, trouble, trouble, say(200, [SERIES]), NOTHING]
    found = connect(failing.address()).search(
        lambda client, known: client.search_for_series("1.2.3", offset=known)
    )
    assert [one.SeriesInstanceUID for one in found] == ["1.2.4"]
    assert len(failing.asked) == 5


@pytest.mark.parametrize(
    ("answer", "code", "tries"),
    [
        (say(503), "dicomweb-unreachable", 4),
        (hang_up, "dicomweb-unreachable", 4),
        (say(401), "dicomweb-denied", 1),
        (say(404), "dicomweb-refused", 1),
        (say(200, b"<html>Welcome</html>", "text/html"), "dicomweb-answer", 1),
        (say(200, {"0020000E": 7}), "dicomweb-answer", 1),
    ],
)
def test_what_does_not_pass_ends_in_words(
    failing: Failing, answer: Callable[[BaseHTTPRequestHandler], None], code: str, tries: int, tmp_path: Path
) -> None:
    failing.answers = [answer]
    with pytest.raises(StoreError) as refused:
        fetch(failing.address(), tmp_path / "out", ("CT",))
    assert (refused.value.code, len(failing.asked)) == (code, tries)
    assert refused.value.todo
    assert "1.2.3" not in str(refused.value), "no UID of a study"
    assert not (tmp_path / "out").exists()


def test_a_server_that_is_silent_is_not_waited_for_for_ever(
    failing: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "READ_S", 0.05)
    failing.answers = [be_silent]
    with pytest.raises(StoreError, match=r"dicomweb-unreachable.*4 tries.*ReadTimeout"):
        fetch(failing.address(), tmp_path / "out", ("CT",))


def test_a_server_that_knows_no_pages_is_not_asked_for_ever(failing: Failing) -> None:
    failing.answers = [say(200, [SERIES])]
    search = connect(failing.address()).search
    assert len(search(lambda client, known: client.search_for_series("1.2.3", offset=known))) == 1
    assert len(failing.asked) == 2


def test_a_series_that_does_not_come_whole_is_not_there_at_all(failing: Failing, tmp_path: Path) -> None:
    body = b"\r\n--b--\r\n"
    failing.answers = [
        say(200, [SERIES]), NOTHING, say(200, [INSTANCE]), NOTHING,
        say(200, body, "multipart/related; type=application/dicom; boundary=b"),
    ]  # fmt: skip
    with pytest.raises(StoreError, match=r"dicomweb-incomplete.*got 0, expected 1 files"):
        fetch(failing.address(), tmp_path / "out", ("CT",))
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


@pytest.fixture
def result(tmp_path: Path) -> Path:
    return makers.series(tmp_path / "result")[0]


def test_a_result_that_the_server_refuses_is_said_with_its_reason(failing: Failing, result: Path) -> None:
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0x0122]}}]}}
    failing.answers = [NOTHING, say(200, failed)]
    with pytest.raises(StoreError, match=r"dicomweb-refused.*0122H"):
        store([result], parse_service(failing.root))


def test_a_server_that_says_yes_and_keeps_nothing_is_found_out(failing: Failing, result: Path) -> None:
    failing.answers = [NOTHING, say(200), NOTHING]
    with pytest.raises(StoreError, match=r"dicomweb-refused.*1 of 1 files"):
        store([result], parse_service(failing.root))


def test_a_result_is_sent_whole_the_second_time_too(failing: Failing, result: Path) -> None:
    sizes: list[str] = []

    def count(handler: BaseHTTPRequestHandler) -> None:
        sizes.append(handler.headers["Content-Length"])
        say(503 if len(sizes) == 1 else 200)(handler)

    uid = {"00080018": {"vr": "UI", "Value": [f"{makers.ROOT}1.1"]}}
    failing.answers = [NOTHING, count, count, say(200, [uid])]
    assert store([result], parse_service(failing.root)) == 1
    assert sizes[0] == sizes[1]
    assert int(sizes[0]) > result.stat().st_size


def test_a_token_goes_with_each_request_and_is_told_nowhere(
    failing: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login tester password swordfish\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv(TOKEN, f"{failing.host}={SECRET}")
    failing.answers = [say(403)]
    with (
        caplog.at_level(logging.DEBUG, "srrd_ray"),
        pytest.raises(StoreError, match="dicomweb-denied") as refused,
    ):
        fetch(failing.address(), tmp_path / "out", ("CT",))
    assert {sign for _, sign in failing.asked} == {f"Bearer {SECRET}"}
    assert SECRET not in caplog.text + str(refused.value)


def test_a_token_does_not_follow_to_another_server(
    failing: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, f"{failing.host}={SECRET}")
    with listening() as other:
        failing.answers, other.answers = [lead_to(f"{other.root}/x")], [say(403)]
        with pytest.raises(StoreError, match="dicomweb-denied"):
            fetch(failing.address(), tmp_path / "out", ("CT",))
        assert [sign for _, sign in other.asked] == [""]


@pytest.mark.parametrize("entries", ["pacs.example={0}", "127.0.0.1={0}", "127.0.0.1:1={0} localhost={0}"])
def test_a_token_goes_to_nobody_but_whom_it_is_for(
    failing: Failing, entries: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, entries.format(SECRET))
    failing.answers = [say(401)]
    with pytest.raises(StoreError, match=rf"dicomweb-denied.*{TOKEN}={failing.host}=TOKEN"):
        fetch(failing.address(), tmp_path / "out", ("CT",))
    assert [sign for _, sign in failing.asked] == [""]


def test_of_several_tokens_each_goes_to_its_host_and_a_host_has_no_capitals(
    failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, f"pacs.example=a== LOCALHOST:{failing.port}={SECRET}")
    failing.answers = [NOTHING]
    here = parse_address(failing.root.replace("127.0.0.1", "localhost"))
    assert connect(here).search(lambda client, known: client.search_for_studies(offset=known)) == []
    assert [sign for _, sign in failing.asked] == [f"Bearer {SECRET}"]


@pytest.mark.parametrize(
    "value", [SECRET, f"Bearer {SECRET}", f"={SECRET}", "pacs.example=", f"a={SECRET} A=b"]
)
def test_a_token_without_a_host_is_refused_and_not_repeated(
    failing: Failing, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, value)
    with pytest.raises(ConfigError, match=rf"dicomweb-token.*{failing.host}=TOKEN") as refused:
        connect(failing.address())
    assert SECRET not in str(refused.value)
    assert failing.asked == []


def test_a_line_that_anybody_can_read_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    connect(parse_address("http://127.0.0.1:1/rs"))
    connect(parse_address("https://pacs.example/rs"))
    assert caplog.text == ""
    connect(parse_address("http://pacs.example/rs"))
    assert "pacs.example is asked without encryption" in caplog.text


def test_the_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dicomweb_client.web", None)
    with pytest.raises(ConfigError, match=r"dicomweb-missing.*srrd-ray\[dicomweb\]"):
        connect(parse_address("https://pacs.example/rs"))
