"""Downloads against a server on loopback that cuts, lies, changes its mind and is busy."""

from __future__ import annotations

import email.utils
import hashlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from komrc import download
from komrc.download import KORQUAD_V1, RemoteFile, fetch
from komrc.errors import HubError, StorageError, UsageError
from komrc.storage import git_blob_id

CONTENT = random.Random(7).randbytes(200_000)


def blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


REMOTE = RemoteFile("data.json", blob(CONTENT), len(CONTENT))


@dataclass
class Server:
    """What the loopback server does. Lists are used up from the front, one entry a request."""

    url: str = ""
    content: bytes = CONTENT
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    if_range: bool = True  # False: answers 206 whatever If-Range says
    length: bool = True
    encoding: str | None = None
    cuts: list[int | None] = field(default_factory=list)  # bytes of the body to send, None: all
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)

    @property
    def ranges_asked(self) -> list[str | None]:
        return [headers.get("range") for headers in self.requests]


def handler(state: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append({key.lower(): value for key, value in self.headers.items()})
            if state.statuses:
                status, headers = state.statuses.pop(0)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = self.range_start()
            if start is not None and start >= len(state.content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = state.content[start or 0 :]
            self.send_response(200 if start is None else 206)
            if start is not None:
                last = len(state.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(state.content)}")
            for name, value in (
                ("ETag", state.etag),
                ("Last-Modified", state.modified),
                ("Content-Encoding", state.encoding),
            ):
                if value is not None:
                    self.send_header(name, value)
            if state.length:
                self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            cut = state.cuts.pop(0) if state.cuts else None
            self.wfile.write(body if cut is None else body[:cut])
            self.close_connection = True

        def range_start(self) -> int | None:
            asked = self.headers.get("Range")
            if asked is None or not state.ranges:
                return None
            if state.if_range and self.headers.get("If-Range") not in (None, state.etag, state.modified):
                return None
            return int(asked.removeprefix("bytes=").removesuffix("-"))

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    state = Server()
    web = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    state.url = f"http://127.0.0.1:{web.server_port}/dataset/"
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    web.shutdown()
    thread.join()
    web.server_close()


@dataclass
class Client:
    server: Server
    folder: Path
    waits: list[float] = field(default_factory=list)
    seen: list[tuple[int, int | None]] = field(default_factory=list)

    def fetch(self, remote: RemoteFile = REMOTE) -> Path:
        return fetch(
            remote,
            self.folder,
            base_url=self.server.url,
            progress=lambda done, total: self.seen.append((done, total)),
            sleep=self.waits.append,
        )

    @property
    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    def left(self, content: bytes, validator: str | None) -> None:
        """As if an earlier run had stopped here."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "data.json.part").write_bytes(content)
        if validator is not None:
            (self.folder / "data.json.part.etag").write_text(validator)


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Client:
    return Client(server, tmp_path / "data")


def test_a_whole_file(client: Client) -> None:
    path = client.fetch()
    assert path == client.folder / "data.json"
    assert path.read_bytes() == CONTENT
    assert client.names == {"data.json"}  # nothing else is left
    assert client.seen[0] == (0, len(CONTENT))
    assert client.seen[-1] == (len(CONTENT), len(CONTENT))
    assert client.waits == []
    assert client.server.requests[0]["accept-encoding"] == "identity"


def test_the_published_ids_are_git_blob_ids(korquad_dev: Path) -> None:
    assert git_blob_id(korquad_dev) == KORQUAD_V1[1].git_blob
    assert korquad_dev.stat().st_size == KORQUAD_V1[1].size


def test_what_is_there_is_not_fetched_again(client: Client) -> None:
    client.fetch()
    client.fetch()
    assert len(client.server.requests) == 1


def test_another_file_of_that_name_is_left_alone(client: Client) -> None:
    client.folder.mkdir()
    (client.folder / "data.json").write_text("mine")
    with pytest.raises(StorageError, match="Move it away"):
        client.fetch()
    assert (client.folder / "data.json").read_text() == "mine"
    assert client.server.requests == []


@pytest.mark.parametrize("cut", [0, 1, 2, 4_096, 65_535, 65_536, 65_537, 131_072, 199_998, 199_999])
def test_a_cut_goes_on_at_its_byte(client: Client, cut: int) -> None:
    client.server.cuts = [cut]
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.ranges_asked == [None, f"bytes={cut}-" if cut else None]
    if cut:
        assert client.server.requests[1]["if-range"] == '"one"'
    assert client.waits == [1.0]


def test_many_cuts_are_no_reason_to_give_up_while_bytes_come(client: Client) -> None:
    client.server.cuts = [1000] * 40
    assert client.fetch().read_bytes() == CONTENT
    assert len(client.server.requests) == 41
    assert set(client.waits) == {1.0}


def test_a_server_that_sends_nothing_is_given_up(client: Client) -> None:
    client.server.cuts = [5000] + [0] * 50
    with pytest.raises(HubError, match="5,000 bytes are kept, run it again to resume"):
        client.fetch()
    assert len(client.server.requests) == 1 + download.ATTEMPTS
    assert client.waits == [1.0, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert client.names == {"data.json.part", "data.json.part.etag"}
    client.server.cuts = []
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.ranges_asked[-1] == "bytes=5000-"
    assert client.names == {"data.json"}


def test_a_server_that_ignores_range_sends_it_all_again(client: Client) -> None:
    client.server.ranges = False
    client.server.cuts = [120_000]
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.ranges_asked == [None, "bytes=120000-"]


def test_cuts_without_range_end_some_time(client: Client) -> None:
    client.server.ranges = False
    client.server.cuts = [120_000] * 100
    with pytest.raises(HubError, match="tries"):
        client.fetch()
    assert len(client.server.requests) == 1 + download.ATTEMPTS


def test_a_file_that_changed_starts_again(client: Client) -> None:
    client.left(b"old half" * 100, '"zero"')
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.requests[0]["if-range"] == '"zero"'
    assert len(client.server.requests) == 1


def test_a_changed_etag_on_a_part_starts_again(client: Client) -> None:
    client.server.if_range = False
    client.left(b"old half" * 100, '"zero"')
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.ranges_asked == ["bytes=800-", None]


def test_the_date_serves_where_the_etag_is_weak(client: Client) -> None:
    client.server.etag = 'W/"one"'
    client.server.modified = "Tue, 20 Nov 2018 06:07:08 GMT"
    client.server.cuts = [500]
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.requests[1]["if-range"] == client.server.modified


def test_without_a_validator_nothing_is_resumed(client: Client) -> None:
    client.server.etag = None
    client.server.cuts = [500]
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.ranges_asked == [None, None]


def test_an_old_half_that_is_wrong_is_fetched_anew(client: Client) -> None:
    client.left(b"x" * 1000, '"one"')  # the server vouches for its own bytes, not for ours
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.ranges_asked == ["bytes=1000-", None]


def test_a_part_longer_than_the_file(client: Client) -> None:
    client.left(CONTENT + b"more", '"one"')
    assert client.fetch().read_bytes() == CONTENT


def test_a_part_that_was_complete(client: Client) -> None:
    client.left(CONTENT, '"one"')
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.requests == []
    assert client.names == {"data.json"}


@pytest.mark.parametrize("flipped", [0, 100_000, 199_999])
def test_wrong_bytes_of_the_same_size(client: Client, flipped: int) -> None:
    wrong = bytearray(CONTENT)
    wrong[flipped] ^= 1
    client.server.content = bytes(wrong)
    with pytest.raises(HubError, match=f"git blob {blob(bytes(wrong))} .* instead of {REMOTE.git_blob}"):
        client.fetch()
    assert not (client.folder / "data.json").exists()
    client.server.content = CONTENT
    assert client.fetch().read_bytes() == CONTENT  # nothing wrong was kept
    assert client.server.ranges_asked == [None, None]


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"\n", b"<html>not found</html>", b""])
def test_another_file_in_its_place(client: Client, content: bytes) -> None:
    client.server.content = content
    with pytest.raises(HubError):
        client.fetch()
    assert not (client.folder / "data.json").exists()


def test_an_endless_file_is_cut_short(client: Client) -> None:
    client.server.content = CONTENT * 5
    with pytest.raises(HubError, match="twice as long"):
        client.fetch()
    assert (client.folder / "data.json.part").stat().st_size == 0


def test_without_a_length(client: Client) -> None:
    client.server.length = False
    client.server.cuts = [1234]
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.ranges_asked == [None, "bytes=1234-"]


@pytest.mark.parametrize("status", [429, 503, 500, 502, 504])
def test_busy_servers_are_asked_again(client: Client, status: int) -> None:
    client.server.statuses = [(status, {})] * 3
    assert client.fetch().read_bytes() == CONTENT
    assert client.waits == [1.0, 2.0, 4.0]


def test_retry_after_in_seconds(client: Client) -> None:
    client.server.statuses = [(429, {"Retry-After": "7"}), (503, {"Retry-After": "0"})]
    client.fetch()
    assert client.waits == [7.0, 0.0]


def test_retry_after_as_a_date(client: Client) -> None:
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    client.server.statuses = [(503, {"Retry-After": date}), (503, {"Retry-After": "soon"})]
    client.fetch()
    assert 50 < client.waits[0] <= 60
    assert client.waits[1] == 2.0


def test_a_server_that_asks_for_an_hour(client: Client) -> None:
    client.server.statuses = [(429, {"Retry-After": "3600"})]
    with pytest.raises(HubError, match="3600 seconds"):
        client.fetch()
    assert client.waits == []


def test_a_busy_server_while_resuming_loses_nothing(client: Client) -> None:
    client.left(CONTENT[:777], '"one"')
    client.server.statuses = [(503, {})]
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.ranges_asked == ["bytes=777-", "bytes=777-"]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_final(client: Client, status: int) -> None:
    client.server.statuses = [(status, {})]
    with pytest.raises(HubError, match=str(status)) as caught:
        client.fetch()
    assert client.server.url in str(caught.value)
    assert client.waits == []


def test_redirects_are_followed(client: Client) -> None:
    client.server.statuses = [(302, {"Location": client.server.url + "elsewhere.json"})]
    assert client.fetch().read_bytes() == CONTENT


def test_redirects_in_a_circle(client: Client) -> None:
    client.server.statuses = [(302, {"Location": client.server.url + "data.json"})] * 60
    with pytest.raises(HubError, match="redirects"):
        client.fetch()


def test_nobody_listens(tmp_path: Path) -> None:
    waits: list[float] = []
    with pytest.raises(HubError, match="Check the network"):
        fetch(REMOTE, tmp_path, base_url="http://127.0.0.1:9/", sleep=waits.append)
    assert len(waits) == download.ATTEMPTS - 1


@pytest.mark.parametrize(
    "url", ["", "ftp://example.org/", "korquad.github.io", "file:///etc", "http://", "http:///x"]
)
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="http"):
        fetch(REMOTE, tmp_path, base_url=url)


# --- disks -------------------------------------------------------------------------------------------------

FULL = """\
import resource, sys
from pathlib import Path
from komrc.download import RemoteFile, fetch
from komrc.errors import StorageError
resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, 70_000))
try:
    fetch(RemoteFile("data.json", sys.argv[2], int(sys.argv[3])), Path(sys.argv[4]), base_url=sys.argv[1])
except StorageError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_disk_that_fills_up(client: Client) -> None:
    source = str(Path(__file__).resolve().parents[1] / "src")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            FULL,
            client.server.url,
            REMOTE.git_blob,
            str(REMOTE.size),
            str(client.folder),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": source, "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (6, "")
    assert "it resumes where it stopped" in done.stdout
    kept = (client.folder / "data.json.part").read_bytes()
    assert 0 < len(kept) <= 70_000
    assert CONTENT.startswith(kept)
    assert client.fetch().read_bytes() == CONTENT  # with room again
    assert client.server.ranges_asked == [None, f"bytes={len(kept)}-"]


def test_too_little_room_is_said_before_the_first_byte(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 199_999})())
    with pytest.raises(StorageError, match="200,000 more bytes, but only 199,999 are free"):
        client.fetch()
    assert (client.folder / "data.json.part").stat().st_size == 0


def test_two_downloads_into_one_folder(client: Client) -> None:
    client.folder.mkdir()
    with download._locked(client.folder / "data.json.part"):
        with pytest.raises(StorageError, match="another download"):
            client.fetch()
    assert client.fetch().read_bytes() == CONTENT


def test_a_folder_that_can_not_be_made(client: Client) -> None:
    client.folder.write_text("a file")
    with pytest.raises(StorageError):
        client.fetch()


def test_a_stop_keeps_what_came(client: Client) -> None:
    def stop(done: int, _total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(REMOTE, client.folder, base_url=client.server.url, progress=stop)
    kept = (client.folder / "data.json.part").read_bytes()
    assert kept
    assert CONTENT.startswith(kept)
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.ranges_asked == [None, f"bytes={len(kept)}-"]


def test_a_kill_keeps_what_came(client: Client) -> None:
    """SIGKILL in the middle: the next run goes on, and a reader never saw half a file."""
    client.server.cuts = [150_000]
    code = FULL.replace(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, 70_000))", "import os, signal"
    ).replace(
        "base_url=sys.argv[1])", "base_url=sys.argv[1], sleep=lambda _: os.kill(os.getpid(), signal.SIGKILL))"
    )
    source = str(Path(__file__).resolve().parents[1] / "src")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            client.server.url,
            REMOTE.git_blob,
            str(REMOTE.size),
            str(client.folder),
        ],
        check=False,
        capture_output=True,
        env={"PYTHONPATH": source, "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == -signal.SIGKILL
    assert not (client.folder / "data.json").exists()
    kept = (client.folder / "data.json.part").stat().st_size
    assert client.fetch().read_bytes() == CONTENT
    assert client.server.ranges_asked[-1] == f"bytes={kept}-"
