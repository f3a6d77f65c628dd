"""The process in which files are read: ``python -m komrc.documents.worker LIMITS``. See ``isolation.py``."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from komrc.documents.builder import Extracted
from komrc.documents.limits import Limits
from komrc.errors import DataError, KomrcError, first_line

_LONGEST_REASON = 200  # characters of a library's message


def main() -> None:
    """Answer each request on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends this process
    limits = Limits(**json.loads(sys.argv[1]))
    _limit_memory(limits)
    with os.fdopen(os.dup(1), "wb") as replies:
        os.dup2(2, 1)  # what a library prints is no reply
        for line in sys.stdin.buffer:
            request = json.loads(line)
            _answer(Path(request["path"]), request["module"], limits, replies)


def _limit_memory(limits: Limits) -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))


def _answer(path: Path, module: str, limits: Limits, replies: BinaryIO) -> None:
    def reply(value: dict[str, Any] | None) -> None:
        replies.write(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        replies.flush()

    try:
        for extracted in import_module(f"komrc.documents.formats.{module}").read(path, limits):
            if isinstance(extracted, Extracted):
                blocks = [
                    (block.kind, block.start, block.end, block.page, block.level)
                    for block in extracted.blocks
                ]
                reply(
                    {
                        "title": extracted.title,
                        "text": extracted.text,
                        "blocks": blocks,
                        "record": extracted.record,
                    }
                )
            else:
                reply({"refused": extracted.what, "where": extracted.where, "fix": extracted.fix})
    except MemoryError:
        reply({"error": "needs too much memory to be read", "fix": "split it", "is_memory": True})
    except BaseException as error:  # a library written in Rust raises its panics as BaseException
        refusal = unreadable(error)
        reply({"error": refusal.what, "fix": refusal.fix, "is_memory": False})
    else:
        reply(None)


def unreadable(error: BaseException) -> DataError:
    """The error for a file whose reader failed."""
    if isinstance(error, KomrcError):
        return DataError(error.what, fix=error.fix)
    # Readers of damaged files also raise OSError, such as EINVAL for a place in front of the file.
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT):
        return DataError(f"can't be read ({error.strerror})", fix="check its permissions and the disk")
    reason = first_line(error)[:_LONGEST_REASON]
    return DataError(f"can't be read ({reason})", fix="open it in its program and save it again")


if __name__ == "__main__":
    main()
