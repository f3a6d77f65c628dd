"""A model hub on 127.0.0.1 for tests: answers huggingface_hub as the real one does, over a folder tree.

    (root / "monologg" / "kobert" / "config.json").write_text("{}")
    with LoopbackHub(root) as hub:
        hub.use(monkeypatch, tmp_path / "cache")          # this process: endpoint and cache
        env = hub.environment(tmp_path / "home")          # or a subprocess: update os.environ's copy with it
        folder = komrc.models.hub.resolve("monologg/kobert")
        assert "/monologg/kobert/resolve/…/config.json" in hub.paths

Repositories are the folders ``root/owner/name``; each has one commit, which is also ``main``, and those that
``hub.tag(name, "v1")`` kept. Names in ``gated`` answer 403. ``hub.paths`` lists the paths that were asked
for, ``hub.tokens`` the tokens that came with them.

Uploads (``create_repo``, ``upload_folder``) with a token in ``hub.writers`` write into the folder.

``hub.cuts`` (bytes of a file to send before the connection ends), ``hub.statuses`` and ``hub.damaged`` (the
byte to flip) are used up from the front, one entry a file's body. ``hub.ranges = False``: Range is ignored.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
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
        self.tokens: list[str | None] = []
        self.writers: set[str] = set()
        self.kept: dict[tuple[str, str], Path] = {}  # name and revision -> a copy of the folder
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

    def tag(self, name: str, tag: str) -> str:
        """Keep the repository as it is now under a tag; returns its commit."""
        commit = self.commit(name)
        copy = self.root.with_name(f"{self.root.name}-kept") / name / commit
        shutil.copytree(self.root / name, copy)
        self.kept[name, tag] = self.kept[name, commit] = copy
        return commit

    def folder(self, name: str, revision: str | None = None) -> Path:
        """The repository's files at a revision."""
        return self.kept.get((name, revision or "main"), self.root / name)

    def commit(self, name: str, revision: str | None = None) -> str:
        """The repository's commit: a hash of its files."""
        digest = hashlib.sha1()
        for path in self.files(name, revision):
            digest.update(path.encode() + (self.folder(name, revision) / path).read_bytes())
        return digest.hexdigest()

    def files(self, name: str, revision: str | None = None) -> list[str]:
        """Paths of the repository's files."""
        folder = self.folder(name, revision)
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
                hub.tokens.append(self.token())
                if match := RESOLVE.fullmatch(path):
                    self.answer_file(match["name"], match["rev"], match["path"])
                elif match := API.fullmatch(path):
                    self.answer_api(match["name"], match["kind"], match["rev"], match["path"])
                else:
                    self.send(404, b"", {"X-Error-Code": "RepoNotFound"})

            def token(self) -> str | None:
                scheme, _, token = self.headers.get("Authorization", "").partition(" ")
                return token if scheme == "Bearer" else None

            def do_POST(self) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.paths.append(path)
                hub.tokens.append(self.token())
                body = self.body()
                if self.token() not in hub.writers:
                    self.send(401, b'{"error": "Invalid credentials"}', {})
                elif path == "/api/validate-yaml":
                    self.send_json({"errors": [], "warnings": []})
                elif path == "/api/repos/create":
                    asked = json.loads(body)
                    name = f"{asked['organization']}/{asked['name']}"
                    (hub.root / name).mkdir(parents=True, exist_ok=True)
                    self.send_json({"url": f"{hub.url}/{name}", "name": name})
                elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
                    files = json.loads(body)["files"]
                    modes = [
                        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
                    ]
                    self.send_json({"files": modes})
                elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
                    for entry in map(json.loads, body.splitlines()):
                        if entry["key"] == "file":
                            data = base64.b64decode(entry["value"]["content"])
                            (hub.root / match[1] / entry["value"]["path"]).write_bytes(data)
                    commit = hub.commit(match[1])
                    url = f"{hub.url}/{match[1]}/commit/{commit}"
                    self.send_json({"commitUrl": url, "commitOid": commit, "pullRequestUrl": None})
                else:
                    self.send(404, b"{}", {})

            def body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length", "0")))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def send_json(self, value: Any) -> None:
                self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

            def refused(self, name: str, revision: str | None) -> bool:
                if not (hub.root / name).is_dir():
                    # The real hub says 401 to strangers, so as not to tell which private names exist.
                    self.send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
                elif name in hub.gated:
                    self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
                elif revision not in (None, "main", hub.commit(name)) and (name, revision) not in hub.kept:
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
                folder = hub.folder(name, revision)
                files = [(path, (folder / path).read_bytes()) for path in hub.files(name, revision)]
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
                        "sha": hub.commit(name, revision),
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
                commit = {"X-Repo-Commit": hub.commit(name, revision)}
                file = hub.folder(name, revision) / path
                if path not in hub.files(name, revision):
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
