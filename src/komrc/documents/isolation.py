"""Reads files in a process of its own, so that a parser that hangs, crashes or fills the memory does no harm.

Starting the process takes as long as starting Python, once for all files. It is started again after a file
that ended it. Messages are lines of JSON on its standard input and output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from komrc.documents.builder import Extracted
from komrc.documents.document import Block
from komrc.documents.kinds import Kind
from komrc.documents.limits import Limits
from komrc.errors import DataError

_SAVE_AGAIN = "open it in its program and save it again"
_PACKAGE_FOLDER = Path(__file__).parents[2]


class _EndedError(DataError):
    """The process ended, or has no memory left."""


class IsolatedReader:
    """A process that reads files, started when the first file needs it. Use it in a ``with`` statement."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def read(self, path: Path, kind: Kind) -> Iterator[Extracted | DataError]:
        """What ``kind``'s reader yields for the file. Raises DataError."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        is_new = self._process is None
        count = 0
        try:
            for result in self._read(path, kind):
                count += 1
                yield result
        except _EndedError:
            if is_new or count:
                raise
            yield from self._read(
                path, kind
            )  # what earlier files left in the memory may have been the reason

    def _read(self, path: Path, kind: Kind) -> Iterator[Extracted | DataError]:
        process = self._process or self._start()
        assert process.stdin is not None
        finished = False
        try:
            request = json.dumps({"path": os.fspath(path), "module": kind.module})
            try:
                process.stdin.write(request.encode() + b"\n")
                process.stdin.flush()
            except OSError as error:
                raise _EndedError("can't be read: its reader ended", fix="try again") from error
            while (reply := self._reply(process)) is not None:
                if "error" in reply:
                    finished = not reply["is_memory"]
                    error_class = _EndedError if reply["is_memory"] else DataError
                    raise error_class(reply["error"], fix=reply["fix"])
                if "refused" in reply:
                    yield DataError(reply["refused"], where=reply["where"], fix=reply["fix"])
                else:
                    blocks = tuple(Block(*block) for block in reply["blocks"])
                    yield Extracted(reply["title"], reply["text"], blocks, reply["record"])
            finished = True
        finally:
            if not finished:  # it is still reading this file, or it ended
                self.close()

    def _start(self) -> subprocess.Popen[bytes]:
        paths = [str(_PACKAGE_FOLDER), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            # -P: a module in the current folder, which may be the folder of documents, is never imported.
            [sys.executable, "-P", "-m", "komrc.documents.worker", json.dumps(asdict(self._limits))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUTF8": "1"},
        )
        return self._process

    def _reply(self, process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
        """The next message, None after the last one of a file. Raises DataError if there is none in time."""
        assert process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._limits.seconds, end)
        timer.daemon = True
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            reply: dict[str, Any] | None = json.loads(line)
            return reply
        if late.is_set():
            raise DataError(
                f"was not read within {self._limits.seconds:g} seconds",
                fix="raise the limit, or split the file",
            )
        raise _EndedError("is damaged, or needs too much memory: its reader crashed", fix=_SAVE_AGAIN)
