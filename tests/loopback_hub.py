"""A model hub on 127.0.0.1 for tests: answers huggingface_hub as the real one does, over a folder tree.

    (root / "monologg" / "kobert" / "config.json").write_text("{}")
    with LoopbackHub(root) as hub:
        hub.use(monkeypatch, tmp_path / "cache")          # this process: endpoint and cache
        env = hub.environment(tmp_path / "home")          # or a subprocess: update os.environ's copy with it
        folder = komrc.models.hub.resolve("monologg/kobert")
        assert "/monologg/kobert/resolve/…/config.json" in hub.paths

Repositories are the folders ``root/owner/name``; each has one commit, which is also ``main``. Names in
``gated`` answer 403. ``hub.paths`` lists the paths that were asked for.

``hub.cuts`` (bytes of a file to send before the connection ends), ``hub.statuses`` and ``hub.damaged`` (the
byte to flip) are used up from the front, one entry a file's body. ``hub.ranges = False``: Range is ignored.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

API = re.compile(
    r"/api/models/(?P<name>[^/]+/[^/]+)(/(?P<kind>revision|tree)/(?P<rev>[^/]+)(/(?P<path>.+))?)?"
)
RESOLVE = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)")


class LoopbackHub:
    """Serves ``root`` while the ``with`` block runs."""

    def __init__(self, root: Path, *, gated: tuple[str, ...] = ()) -> None:
        self.root = root
        self.gated = gated
        self.paths: list[str] = []
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.damaged: list[int] = []
        self.ranges = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> LoopbackHub:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """Variables that lead a subprocess to this hub, with a cache of its own below ``home``."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def use(self, monkeypatch: Any, cache: Path) -> None:
        """Lead this process to this hub, with the cache ``cache``, until the test ends."""
        from huggingface_hub import constants

        for name, value in self.environment(cache).items():
            monkeypatch.setenv(name, value)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, self.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", self.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def commit(self, name: str) -> str:
        """The repository's commit: a hash of its files."""
        digest = hashlib.sha1()
        for path in self.files(name):
            digest.update(path.encode() + (self.root / name / path).read_bytes())
        return digest.hexdigest()

    def files(self, name: str) -> list[str]:
        """Paths of the repository's files."""
        folder = self.root / name
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Keep the tests' output clean."""

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.paths.append(path)
                if match := RESOLVE.fullmatch(path):
                    self.answer_file(match["name"], match["rev"], match["path"])
                elif match := API.fullmatch(path):
                    self.answer_api(match["name"], match["kind"], match["rev"], match["path"])
                else:
                    self.send(404, b"", {"X-Error-Code": "RepoNotFound"})

            def refused(self, name: str, revision: str | None) -> bool:
                if not (hub.root / name).is_dir():
                    # The real hub says 401 to strangers, so as not to tell which private names exist.
                    self.send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
                elif name in hub.gated:
                    self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
                elif revision not in (None, "main", hub.commit(name)):
                    self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                else:
                    return False
                return True

            def answer_api(
                self, name: str, kind: str | None, revision: str | None, below: str | None
            ) -> None:
                if self.refused(name, revision):
                    return
                if kind == "tree" and below is not None:
                    self.send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
                    return
                files = [(path, (hub.root / name / path).read_bytes()) for path in hub.files(name)]
                value: Any
                if kind == "tree":
                    value = [
                        {"type": "file", "path": path, "size": len(data), "oid": _blob_id(data)}
                        for path, data in files
                    ]
                else:
                    value = {
                        "id": name,
                        "modelId": name,
                        "sha": hub.commit(name),
                        "private": False,
                        "gated": False,
                        "disabled": False,
                        "tags": [],
                        "downloads": 0,
                        "likes": 0,
                        "siblings": [{"rfilename": path} for path, _ in files],
                    }
                self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

            def answer_file(self, name: str, revision: str, path: str) -> None:
                if self.refused(name, revision):
                    return
                commit = {"X-Repo-Commit": hub.commit(name)}
                file = hub.root / name / path
                if path not in hub.files(name):
                    self.send(404, b"", {"X-Error-Code": "EntryNotFound", **commit})
                    return
                data = file.read_bytes()
                cut = None
                if self.command == "GET":
                    if hub.statuses:
                        self.send(hub.statuses.pop(0), b"", commit)
                        return
                    cut = hub.cuts.pop(0) if hub.cuts else None
                headers = {"ETag": f'"{_blob_id(data)}"', "Accept-Ranges": "bytes", **commit}
                if self.command == "GET" and hub.damaged:
                    at = hub.damaged.pop(0)
                    data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if asked and hub.ranges:
                    first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
                    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
                    self.send(206, data[first : last + 1], headers, cut)
                else:
                    self.send(200, data, headers, cut)

            def send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[:cut])
                self.close_connection |= cut is not None

        return Handler


def _blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
