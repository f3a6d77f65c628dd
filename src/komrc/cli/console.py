"""The standard streams and signals of a command: every encoding, closed streams, pipes that end early.

No character makes a command fail. An encoding that has Hangul, such as UTF-8 or CP949, stays, and characters
that it lacks become ``\\uXXXX``; one without Hangul (ascii, latin-1, as in the C locale) becomes UTF-8.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, TextIO

from komrc.errors import InputError, StorageError

_ERRORS = "komrc.escape"


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP was received; like Ctrl-C, it ends the command after its files are in order."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Inside the block the standard streams accept every text, and signals end the command in order."""
    before = sys.stdin, sys.stdout, sys.stderr
    _occupy_descriptors()
    prepare_output()
    # By their types the streams can't be None; a process started with closed ones has None there.
    if sys.stdin is None:
        sys.stdin = _ClosedInput()
    if sys.stdout is None:
        sys.stdout = _ClosedOutput()
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    sys.stderr = _Messages(sys.stderr)
    try:
        with _signals():
            yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def prepare_output() -> None:
    """Let standard output and standard error accept every text, whatever their encoding."""
    codecs.register_error(_ERRORS, _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if _has_hangul(stream.encoding) else "utf-8"
            stream.reconfigure(encoding=encoding, errors=_ERRORS)


def print_json(value: Any) -> None:
    """Print a value as JSON; with ASCII only if the output is not UTF-8, so that it stays valid JSON."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    plain = codecs.lookup(encoding).name != "utf-8"
    print(json.dumps(value, ensure_ascii=plain, indent=2))


def _has_hangul(encoding: str) -> bool:
    try:
        "한".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """For characters that the encoding lacks; bytes of a file's name that Python keeps as surrogates are
    written as they are where they are UTF-8."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    try:
        raw = error.object[error.start : error.end].encode("ascii", "surrogateescape")
        raw.decode("utf-8")
    except UnicodeError:
        return codecs.backslashreplace_errors(error)
    return (raw, error.end) if error.encoding == "utf-8" else codecs.backslashreplace_errors(error)


# --- streams -----------------------------------------------------------------------------------------------


def _occupy_descriptors() -> None:
    """Open the null device in place of closed standard streams: else the next file that is opened gets
    the descriptor, and whatever a library writes to standard output ends up in it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


class _ClosedInput(io.TextIOBase):
    @property
    def buffer(self) -> Any:
        raise InputError("is closed", where="standard input", fix="give a file, or pipe the text in")

    def read(self, _size: int | None = -1, /) -> str:
        return str(self.buffer)


class _ClosedOutput(io.TextIOBase):
    encoding = "utf-8"

    def write(self, _text: str, /) -> int:
        raise StorageError("is closed", where="standard output", fix="send it to a file or a pipe")


class _Messages:
    """Standard error. If it is closed, messages are dropped and the command continues."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


# --- signals -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP raises KeyboardInterrupt; a second one ends the process at once.

    A signal that is ignored, as SIGHUP under nohup, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        if received:
            os._exit(128 + number)
        received = True
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated(number)

    usual = (signal.SIG_DFL, signal.default_int_handler)
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    former = {number: signal.getsignal(number) for number in numbers}
    former = {number: handler for number, handler in former.items() if handler in usual}
    for number in former:
        signal.signal(number, handle)
    try:
        yield
    finally:
        if not received:  # else the process is ending, and a second signal must not end in a traceback
            for number, handler in former.items():
                signal.signal(number, handler)
