"""Downloads that resume after an interruption and are checked by hash.

Bytes go to ``<name>.part`` in the target's folder. A later request asks for the rest with Range and If-Range.
Only a part whose git blob id is the published one is renamed to the target.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from komrc import storage, system
from komrc.errors import HubError, StorageError, UsageError
from komrc.storage import git_blob_id

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

KORQUAD_URL = "https://korquad.github.io/dataset/"
KORQUAD_LICENCE = "CC BY-ND 2.0 KR"

ATTEMPTS = 6  # in a row without a new byte
LONGEST_WAIT = 120.0  # seconds; a server that asks for more is not asked again
TIMEOUT = 30.0  # seconds without a byte
_RETRIED = frozenset({408, 416, 425, 429, 500, 502, 503, 504})

Progress = Callable[[int, int | None], None]  # bytes downloaded, bytes in all


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A published file. ``size`` in bytes is for display and the check of free space; the id decides."""

    name: str
    git_blob: str
    size: int


KORQUAD_V1 = (
    RemoteFile("KorQuAD_v1.0_train.json", "82e3c5939e5e61a1c4ae94e42676800e88ec52a6", 38_527_475),
    RemoteFile("KorQuAD_v1.0_dev.json", "6849d8c79140447018f5701a0453835c96608a07", 3_881_058),
)


def fetch(
    remote: RemoteFile,
    folder: Path,
    *,
    base_url: str = KORQUAD_URL,
    progress: Progress = lambda _done, _total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Download a file into a folder unless it is there already; returns its path.

    Cut connections, timeouts and busy servers (429, 5xx) are tried again after the time that Retry-After asks
    for, or after 1, 2, 4, … seconds. After an interruption the next call resumes.

    Raises:
        HubError: the server can't be reached, refuses, or sends other bytes.
        StorageError: the disk is full, the folder can't be written, another download writes there, or
            another file has the target's name.
        UsageError: ``base_url`` is no http(s) address.
    """
    if not re.match(r"https?://[^/\s]+", base_url):
        raise UsageError("is not an http(s) address", where=base_url, fix="give one, such as " + KORQUAD_URL)
    target = folder / remote.name
    part = folder / f"{remote.name}.part"
    try:
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(part) as file:
                if not target.exists():  # else another download finished meanwhile
                    url = base_url.rstrip("/") + "/" + remote.name
                    _Download(remote, url, part, file, progress, sleep).run()
                    storage.put_in_place(part, target)
                    _validator_file(part).unlink(missing_ok=True)
                    return target
        if target.is_file() and git_blob_id(target) == remote.git_blob:
            return target
    except OSError as error:
        raise StorageError(
            f"can't be written ({error.strerror or error})",
            where=str(target),
            fix="check free space and permissions, then run it again: it resumes where it stopped",
        ) from error
    raise StorageError(
        "exists, but is not the published file",
        where=str(target),
        fix="move it away, or choose another folder",
    )


def _locked(part: Path) -> BinaryIO:
    """The part file, opened for appending by this process alone."""
    try:
        return system.open_locked(part)
    except BlockingIOError as error:
        raise StorageError(
            "another download is writing it", where=str(part), fix="wait for it to end, or stop it"
        ) from error


def _validator_file(part: Path) -> Path:
    """Contains the ETag or date of the response that the part's bytes came from."""
    return part.with_name(part.name + ".etag")


class _RetryError(Exception):
    """This request failed, another may succeed. ``wait``: seconds that the server asked for."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(slots=True)
class _Download:
    remote: RemoteFile
    url: str
    part: Path
    file: BinaryIO
    progress: Progress
    sleep: Callable[[float], None]
    joined: bool = False  # whether the part's bytes come from more than one response

    def run(self) -> None:
        """Fill the part file with the published bytes."""
        import httpx

        if self._size() and git_blob_id(self.part) == self.remote.git_blob:
            return  # stopped before the renaming
        # Encoded bodies can't be resumed by byte, so none is asked for.
        headers = {"Accept-Encoding": "identity"}
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT, headers=headers) as client:
            self._receive(client)
            if (blob := git_blob_id(self.part)) != self.remote.git_blob and self.joined:
                self._clear()  # the pieces may not belong together: once more from the start
                self._receive(client)
                blob = git_blob_id(self.part)
        if blob != self.remote.git_blob:
            size = self._size()
            self._clear()
            raise HubError(
                f"has other bytes than the published file: git blob {blob} ({size:,} bytes) "
                f"instead of {self.remote.git_blob}",
                where=self.url,
                fix="try again later, or another mirror; nothing was kept",
            )

    def _receive(self, client: httpx.Client) -> None:
        """Requests until one ends without an error."""
        import httpx

        most, failures = self._size(), 0
        while True:
            try:
                return self._request(client)
            except (_RetryError, httpx.TransportError) as error:
                # Only bytes beyond all earlier ones count as a success: a server that ignores Range and
                # always cuts the connection must not be asked for ever.
                failures = 0 if self._size() > most else failures + 1
                most = max(most, self._size())
                why, wait = str(error) or type(error).__name__, getattr(error, "wait", None)
                wait = 2.0 ** max(failures - 1, 0) if wait is None else wait
                if failures >= ATTEMPTS:
                    raise self._failure(f"{why} ({failures} tries)") from error
                if wait > LONGEST_WAIT:
                    raise self._failure(f"{why}, and asks to wait {wait:.0f} seconds") from error
                logger.warning("%s: %s; trying again in %.0f s", self.remote.name, why, wait)
                self.sleep(wait)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise self._failure(str(error)) from error

    def _request(self, client: httpx.Client) -> None:
        """One request; its body is appended to the part file."""
        note, offset = _validator_file(self.part), self._size()
        validator = note.read_text(encoding="ascii", errors="ignore").strip() if note.exists() else ""
        headers = {"Range": f"bytes={offset}-", "If-Range": validator} if offset and validator else {}
        with client.stream("GET", self.url, headers=headers) as response:
            if response.status_code in (200, 416):
                self._clear()  # the whole file follows, or the part is longer than the file
                offset = 0
            if response.status_code not in (200, 206):
                why = f"the server answered {response.status_code} {response.reason_phrase}".rstrip()
                if response.status_code in _RETRIED:
                    raise _RetryError(why, _retry_after(response))
                raise self._failure(why)
            self.joined |= offset > 0
            if offset == 0 and (validator := _validator(response)):
                note.write_text(validator, encoding="ascii")
            encoded = "Content-Encoding" in response.headers
            length = response.headers.get("Content-Length", "")
            whole = offset + int(length) if length.isdigit() and not encoded else None
            self._check_space((whole or self.remote.size) - offset)
            self.progress(offset, whole)
            for chunk in response.iter_bytes():
                self.file.write(chunk)
                offset += len(chunk)
                if offset > 2 * self.remote.size:
                    self._clear()
                    raise HubError(
                        f"is more than twice as long as the published file ({self.remote.size:,} bytes)",
                        where=self.url,
                        fix="check the address; nothing was kept",
                    )
                self.progress(offset, whole)
        self.file.flush()
        if offset < (expected := whole or self.remote.size):
            raise _RetryError(f"the connection ended after {offset:,} of {expected:,} bytes")

    def _size(self) -> int:
        return self.file.seek(0, os.SEEK_END)

    def _clear(self) -> None:
        _validator_file(self.part).unlink(missing_ok=True)
        self.file.truncate(0)

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if needed > free:
            raise StorageError(
                f"needs {needed:,} more bytes, but only {free:,} are free",
                where=str(self.part),
                fix="make room, or choose another folder",
            )

    def _failure(self, why: str) -> HubError:
        size = self._size()
        kept = f"; {size:,} bytes are kept, run it again to resume" if size else ""
        return HubError(
            f"can't be downloaded: {why}", where=self.url, fix=f"check the network and the address{kept}"
        )


def _validator(response: httpx.Response) -> str:
    """A value for If-Range: a strong ETag, else the date of the last change; "" without either."""
    tag: str = response.headers.get("ETag", "")
    if tag.startswith('"') and tag.isascii():
        return tag
    date: str = response.headers.get("Last-Modified", "")
    return date if date.isascii() else ""


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait, from a number or a date; None if the server gives neither."""
    from email.utils import parsedate_to_datetime  # not at every start: it brings socket

    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
