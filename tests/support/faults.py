"""Kills, power cuts and limits in a forked child, so that a test sees what they leave behind."""

# The system's own calls are watched here:
# ruff: noqa: PTH100, PTH115, PTH118
from __future__ import annotations

import builtins
import io
import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What changes the disk, beside writes. Renames that the kernel does in one step (renameat2) lie between two
# of these.
STEPS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")


@dataclass
class Ended:
    """How a child ended: its exit code (minus the signal's number where one killed it), and what it returned
    or raised."""

    code: int
    value: Any = None
    error: BaseException | None = None


@dataclass
class Child:
    """A forked child at work."""

    process: int
    pipe: int

    def wait(self) -> Ended:
        """Its end."""
        with os.fdopen(self.pipe, "rb") as pipe:
            data = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        kind, result = pickle.loads(data) if data else ("value", None)
        return Ended(code, result if kind == "value" else None, result if kind == "error" else None)


def in_child(
    action: Callable[[], Any], *, cpu_seconds: int | None = None, memory: int | None = None
) -> Ended:
    """Run ``action`` in a forked child to its end.

    Args:
        cpu_seconds: more kills it.
        memory: bytes it may take beyond what it has.
    """
    return start_child(action, cpu_seconds=cpu_seconds, memory=memory).wait()


def start_child(
    action: Callable[[], Any], *, cpu_seconds: int | None = None, memory: int | None = None
) -> Child:
    """Start ``action`` in a forked child; see ``in_child``."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.close(reading)
            _alone()
            if cpu_seconds is not None:
                used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2])) + 1
                resource.setrlimit(resource.RLIMIT_CPU, (used + cpu_seconds,) * 2)
            if memory is not None:
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory,) * 2)
            try:
                result: Any = ("value", action())
                code = 0
            except BaseException as error:  # handed over whatever it is
                result, code = ("error", error), 1
            try:
                data = pickle.dumps(result)
            except Exception:
                data = pickle.dumps((result[0], RuntimeError(repr(result[1]))))
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(data)
        finally:
            os._exit(code)
    os.close(writing)
    return Child(child, reading)


def _alone() -> None:
    """A forked child has none of its parent's threads: libraries must not wait for them."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


@dataclass
class Disk:
    """Watches every write and step below a folder; kills the process at the ``kill_at``-th.

    ``log`` (a file outside the folder) tells the parent which files had reached the disk by then.
    """

    folder: Path
    log: Path
    kill_at: int | None = None
    count: int = 0
    names: list[str] = field(default_factory=list)

    def event(self, name: str) -> bool:
        """Whether the process dies here."""
        self.count += 1
        self.names.append(name)
        return self.count == self.kill_at

    def install(self) -> None:
        """Put the watch in the place of the system's calls, for the rest of this (forked) process."""
        here = str(self.folder)
        notes = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND)

        def note(kind: str, descriptor: int) -> None:
            os.write(notes, f"{kind} {os.fstat(descriptor).st_ino}\n".encode())

        def die() -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        for name in STEPS:
            true = getattr(os, name)

            def step(*args: Any, _true: Any = true, _name: str = name, **more: Any) -> Any:
                target = args[0]
                if _name == "fsync":
                    path = os.readlink(f"/proc/self/fd/{target}")
                else:
                    path = os.fsdecode(target)
                    if more.get("dir_fd") is not None:
                        path = os.path.join(os.readlink(f"/proc/self/fd/{more['dir_fd']}"), path)
                if not path.startswith(here):
                    return _true(*args, **more)
                if self.event(f"{_name} {path}"):
                    die()
                if _name == "fsync":
                    note("synced", target)
                    return None  # the power cut is simulated, so the real thing would only take time
                return _true(*args, **more)

            setattr(os, name, step)

        disk = self

        class Watched(io.FileIO):
            def write(self, data: Any) -> int:
                note("written", self.fileno())
                if disk.event(f"write {self.name}"):
                    view = memoryview(data).cast("B")
                    super().write(view[: len(view) // 2])
                    die()
                return super().write(data)

        true_open = io.open

        def watched_open(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **more: Any) -> Any:
            writes = set(mode) & set("wxa+") and not isinstance(file, int)
            if not writes or not os.path.abspath(os.fsdecode(file)).startswith(here):
                return true_open(file, mode, buffering, *args, **more)
            raw = Watched(file, mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            buffered: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *args, **more)

        io.open = builtins.open = watched_open  # type: ignore[assignment]


def cut_power(folder: Path, log: Path) -> None:
    """What a power cut may do to a killed child's files: those that had not reached the disk are torn."""
    synced: set[int] = set()
    for line in log.read_text().splitlines():
        kind, inode = line.split()
        (synced.add if kind == "synced" else synced.discard)(int(inode))
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_ino not in synced:
            os.truncate(path, path.stat().st_size // 2)


def kill_points(
    action: Callable[[], Any], prepare: Callable[[], Path], log: Path, points: Callable[[int], Iterator[int]]
) -> Iterator[tuple[Path, int, str]]:
    """Run ``action`` once whole and then once for each chosen point, killed there.

    Args:
        action: writes into the prepared folder.
        prepare: makes the folder as it is before, and returns it.
        points: chooses from the number of events of a whole run.

    Yields the folder as the kill left it, the point and its name; a power cut is up to the caller.
    """
    disk = Disk(prepare(), log)

    def whole() -> list[str]:
        disk.install()
        action()
        return disk.names

    ended = in_child(whole)
    if ended.error is not None:
        raise ended.error
    names: list[str] = ended.value
    for point in points(len(names)):
        folder = prepare()
        before = {p.stat().st_ino for p in folder.rglob("*") if p.is_file()}
        disk = Disk(folder, log, kill_at=point)

        def killed(disk: Disk = disk) -> None:
            disk.install()
            action()

        ended = in_child(killed)
        assert ended.code == -signal.SIGKILL, (point, names[point - 1], ended)
        with log.open("a") as notes:  # what was there before had reached the disk long ago
            notes.writelines(f"synced {inode}\n" for inode in before - _written(log))
        yield folder, point, names[point - 1]


def _written(log: Path) -> set[int]:
    return {int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("written")}
