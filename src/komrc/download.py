"""Downloads that resume where they stopped and are checked before they take their place.

Bytes go to ``<name>.part`` beside the target. A transfer goes on with Range and If-Range, so that a file
which changed on the server starts again instead of being glued to an old half. Only bytes with the right git
blob id are renamed to the target.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from komrc import storage, system
from komrc.errors import HubError, StorageError, UsageError

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

KORQUAD_URL = "https://korquad.github.io/dataset/"
KORQUAD_LICENCE = "CC BY-ND 2.0 KR"

ATTEMPTS = 6  # in a row without a new byte
LONGEST_WAIT = 120.0  # seconds; a server that asks for more is left alone
TIMEOUT = 30.0  # seconds without a byte

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

Progress = Callable[[int, int | None], None]  # bytes there, bytes in all


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A published file. ``size`` in bytes is for display and a look at the free space; the id decides."""

    name: str
    git_blob: str
    size: int


KORQUAD_V1 = (
    RemoteFile("KorQuAD_v1.0_train.json", "82e3c5939e5e61a1c4ae94e42676800e88ec52a6", 38_527_475),
    RemoteFile("KorQuAD_v1.0_dev.json", "6849d8c79140447018f5701a0453835c96608a07", 3_881_058),
)


def _silent(_done: int, _total: int | None) -> None:
    pass


def git_blob_id(path: Path) -> str:
    """The id git gives a file's content: SHA-1 over a header with its size, and its bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(
    remote: RemoteFile,
    folder: Path,
    *,
    base_url: str = KORQUAD_URL,
    progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Download a file into a folder, or find it there already; returns its path.

    Cut connections, timeouts and busy servers (429, 5xx) are tried again, after what Retry-After asks for or
    after 1, 2, 4, … seconds. What was stopped goes on at the next call.

    Raises:
        HubError: the server can't be reached, refuses, or sends other bytes.
        StorageError: the disk is full, the folder can't be written, another download is at work there, or
            another file has the target's name.
        UsageError: ``base_url`` is no http(s) address.
    """
    if not re.match(r"https?://[^/\s]+", base_url):
        raise UsageError("is not an http(s) address", where=base_url, fix="give one, such as " + KORQUAD_URL)
    target = folder / remote.name
    try:
        if target.exists():
            return _accept_existing(remote, target)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name(remote.name + ".part")) as part:
            if target.exists():  # another download finished while this one started
                return _accept_existing(remote, target)
            url = base_url.rstrip("/") + "/" + remote.name
            _Transfer(remote, url, part, progress or _silent, sleep).run()
            storage.put_in_place(part.path, target)
            part.validator = ""
    except OSError as error:
        raise StorageError(
            f"can't be written ({error.strerror or error})",
            where=str(target),
            fix="check free space and permissions, then run it again: it goes on where it stopped",
        ) from error
    return target


def _accept_existing(remote: RemoteFile, target: Path) -> Path:
    if target.is_file() and git_blob_id(target) == remote.git_blob:
        return target
    raise StorageError(
        "is there already, but is not the published file",
        where=str(target),
        fix="move it away, or choose another folder",
    )


class _Part:
    """The unfinished file and, beside it, the validator (ETag or date) of the answer its bytes came from."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self._note = path.with_name(path.name + ".etag")

    @property
    def validator(self) -> str:
        try:
            return self._note.read_text(encoding="ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return ""

    @validator.setter
    def validator(self, value: str) -> None:
        if value:
            self._note.write_text(value, encoding="ascii")
        else:
            self._note.unlink(missing_ok=True)

    def size(self) -> int:
        return self.file.seek(0, os.SEEK_END)

    def clear(self) -> None:
        self.validator = ""
        self.file.seek(0)
        self.file.truncate()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[_Part]:
    """The part file, opened for this process alone."""
    with path.open("ab") as file:
        try:
            system.lock(file.fileno())
        except BlockingIOError as error:
            raise StorageError(
                "another download is writing it", where=str(path), fix="wait for it to end, or stop it"
            ) from error
        yield _Part(path, file)


class _RetryError(Exception):
    """This try failed, another may not. ``wait``: seconds the server asked for."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(slots=True)
class _Transfer:
    remote: RemoteFile
    url: str
    part: _Part
    progress: Progress
    sleep: Callable[[float], None]

    def run(self) -> None:
        """Fill the part file with the right bytes."""
        import httpx

        if self.part.size() and git_blob_id(self.part.path) == self.remote.git_blob:
            return  # stopped between the last byte and the renaming
        resumed = self.part.size() > 0
        best = self.part.size()
        failures = 0
        # Encoded bodies can't be resumed by byte, so none is asked for.
        with httpx.Client(
            follow_redirects=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}
        ) as client:
            while True:
                try:
                    self._try(client)
                except (_RetryError, httpx.TransportError) as error:
                    # The count starts again only beyond the furthest byte ever, else a server that ignores
                    # Range and always cuts would be asked for ever.
                    failures = 0 if self.part.size() > best else failures + 1
                    best = max(best, self.part.size())
                    self._wait(error, failures)
                    continue
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    raise self._failed(str(error)) from error
                self.part.file.flush()
                found = git_blob_id(self.part.path)
                if found == self.remote.git_blob:
                    return
                size = self.part.size()
                self.part.clear()
                if not resumed:
                    raise HubError(
                        f"has other bytes than the published file: git blob {found} ({size:,} bytes) "
                        f"instead of {self.remote.git_blob}",
                        where=self.url,
                        fix="try again later, or another mirror; nothing was kept",
                    )
                resumed = False  # the old half may be at fault: once more from the start
                best = 0

    def _failed(self, why: str) -> HubError:
        kept = f"; {self.part.size():,} bytes are kept, run it again to go on" if self.part.size() else ""
        return HubError(
            f"can't be downloaded: {why}", where=self.url, fix=f"check the network and the address{kept}"
        )

    def _wait(self, error: Exception, failures: int) -> None:
        why = str(error) or type(error).__name__
        if failures >= ATTEMPTS:
            raise self._failed(f"{why} ({failures} tries)") from error
        wait = (
            error.wait
            if isinstance(error, _RetryError) and error.wait is not None
            else 2.0 ** max(failures - 1, 0)
        )
        if wait > LONGEST_WAIT:
            raise self._failed(f"{why}, and asks to wait {wait:.0f} seconds") from error
        logger.warning("%s: %s; trying again in %.0f s", self.remote.name, why, wait)
        self.sleep(wait)

    def _try(self, client: httpx.Client) -> None:
        """One request, its body appended to the part file."""
        offset = self.part.size()
        headers = {}
        validator = self.part.validator
        if offset and validator:
            headers = {"Range": f"bytes={offset}-", "If-Range": validator}
        elif offset:  # nothing says what these bytes are the beginning of
            self.part.clear()
            offset = 0
        with client.stream("GET", self.url, headers=headers) as response:
            offset = self._settle(response, offset)
            whole = self._whole_size(response, offset)
            self._check_space(whole, offset)
            self.progress(offset, whole)
            for chunk in response.iter_bytes():
                self.part.file.write(chunk)
                offset += len(chunk)
                if offset > 2 * self.remote.size:
                    self.part.clear()
                    raise HubError(
                        f"is more than twice as long as the published file ({self.remote.size:,} bytes)",
                        where=self.url,
                        fix="check the address; nothing was kept",
                    )
                self.progress(offset, whole)
        self.part.file.flush()
        if offset < (expected := whole or self.remote.size):
            raise _RetryError(f"the connection ended after {offset:,} of {expected:,} bytes")

    def _settle(self, response: httpx.Response, offset: int) -> int:
        """Judge the answer's head; returns where its body begins in the file."""
        status = response.status_code
        if status == 206 and offset:
            stated = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            tag = response.headers.get("ETag")
            validator = self.part.validator
            changed = tag is not None and validator.startswith('"') and tag != validator
            if stated is None or int(stated[1]) != offset or changed or _encoded(response):
                self.part.clear()
                raise _RetryError("the server sent another part than the one asked for")
            return offset
        if status == 200:  # the whole file: the first time, or it changed, or Range is ignored
            self.part.clear()
            self.part.validator = _validator(response)
            return 0
        if status == 416:  # more bytes here than there
            self.part.clear()
            raise _RetryError("the server has fewer bytes than were kept")
        why = f"the server says {status} {response.reason_phrase}".rstrip()
        if status in _RETRIED:
            raise _RetryError(why, _retry_after(response))
        raise self._failed(why)

    def _whole_size(self, response: httpx.Response, offset: int) -> int | None:
        length = response.headers.get("Content-Length", "")
        if _encoded(response) or not length.isdigit():
            return None
        return offset + int(length)

    def _check_space(self, whole: int | None, offset: int) -> None:
        needed = (whole or self.remote.size) - offset
        free = shutil.disk_usage(self.part.path.parent).free
        if needed > free:
            raise StorageError(
                f"needs {needed:,} more bytes, but only {free:,} are free",
                where=str(self.part.path),
                fix="make room, or choose another folder",
            )


def _encoded(response: httpx.Response) -> bool:
    encoding: str = response.headers.get("Content-Encoding", "identity")
    return encoding.lower() != "identity"


def _validator(response: httpx.Response) -> str:
    """What If-Range may hold: a strong ETag, else the date of the last change; "" where there is neither."""
    if _encoded(response):
        return ""
    tag: str = response.headers.get("ETag", "")
    if tag.startswith('"') and tag.isascii():
        return tag
    date: str = response.headers.get("Last-Modified", "")
    return date if date.isascii() else ""


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait, from a number or a date; None where the server names none."""
    from email.utils import parsedate_to_datetime  # not at every start: it brings socket

    said = response.headers.get("Retry-After", "").strip()
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
