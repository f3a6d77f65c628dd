"""KorQuAD 2.0 and 2.1: whole web pages in HTML, read one page at a time.

A file is ``{"version": …, "data": [page, …]}``; a page has ``title``, ``url``, ``context`` (its HTML),
``raw_html`` (as crawled) and ``qas``. A question has one ``answer`` with ``text`` and ``answer_start``, both
in ``context``, and ``html_answer_text`` and ``html_answer_start``, both in ``raw_html``.
"""

from __future__ import annotations

import logging
import zipfile
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from komrc.data import strict_json
from komrc.data.checks import EVERYTHING, Checker, Needs
from komrc.data.json_stream import Element, ListReader
from komrc.data.read import Counts, refuse_problems
from komrc.data.strict_json import describe_value
from komrc.errors import DataError, Problem, StorageError
from komrc.types import Example

logger = logging.getLogger(__name__)

_ANSWER_FIX = 'make it an object with "text" and "answer_start"'
_NO_QUESTIONS = "give a file, folder or ZIP file in the layout of KorQuAD 2"


@dataclass(frozen=True, slots=True)
class Page:
    """A web page and its questions.

    ``context`` is HTML, and the answers' offsets count its characters: ``context[gold.start:gold.end] ==
    gold.text``. All examples share the one ``context``. ``raw_html`` is None unless it was asked for.
    """

    title: str
    url: str
    context: str
    examples: tuple[Example, ...]
    raw_html: str | None = None


def load_korquad2(
    path: str | Path | Sequence[Path],
    *,
    skip_invalid: bool = False,
    raw_html: bool = False,
    needs: Needs = EVERYTHING,
) -> Iterator[Page]:
    """The pages of KorQuAD 2.0 or 2.1 data in file order, one at a time; memory doesn't grow with the data.

    Args:
        path: a JSON file (also with .gz), a ZIP file of JSON files as published, or a folder of such files,
            which are read in the order of their names. In a folder, a member of a ZIP file is left out if the
            folder has a file of the same name (an unpacked copy). A list of such files is read in its order.
        skip_invalid: leave out questions with a defect, and log how many and which, instead of raising.
        raw_html: keep the page as crawled too, and check the answers in it.
        needs: what is checked of each question.

    Raises:
        DataError: with every problem, after the whole data was checked. Pages in front of the first problem
            are yielded before, none after it. Also for a file that is not JSON or of another layout.
        StorageError: a file can't be read from the disk.
    """
    scan = PageScan(path, needs, raw_html=raw_html)
    for page in scan:
        if skip_invalid or not scan.problems:
            yield page
    if skip_invalid and scan.unreadable:
        logger.warning(
            "%s: %d pages can't be read (komrc data lint names them)", _shown(path), scan.unreadable
        )
    refuse_problems(
        _shown(path),
        scan.problems,
        kept=scan.kept,
        left_out=scan.left_out,
        skip_invalid=skip_invalid,
        fix="correct them"
        + (", or leave the questions concerned out with --skip-invalid" if scan.kept else ""),
    )


def is_korquad2(path: str | Path) -> bool:
    """Whether a path has KorQuAD 2's layout: a folder, a ZIP file, or a JSON file whose first page does."""
    path = Path(path)
    if path.is_dir() or zipfile.is_zipfile(path):
        return True
    if not path.is_file() or not path.name.lower().endswith((".json", ".json.gz")):
        return False
    try:
        with path.open("rb") as file:
            for element in ListReader(file, "data", where=str(path), max_bytes=strict_json.size_limit()):
                page = element.parse(str(path))[0]
                return isinstance(page, dict) and "qas" in page and "paragraphs" not in page
    except (DataError, OSError):
        pass
    return False


@dataclass(slots=True)
class PageScan:
    """Pages of a path, and what is wrong with them. Iterate once; the other fields are complete after that.

    ``left_out`` names each question that is in no page: its id, or its place if it has none. A page without
    one usable question is still yielded, without examples.
    """

    path: str | Path | Sequence[Path]
    needs: Needs = EVERYTHING
    raw_html: bool = False  # keep it, and check the answers in it
    check_raw_html: bool = False  # only check them, in pages that have it
    on_bytes: Callable[[int], None] | None = None  # called with the bytes of each page's JSON
    problems: list[Problem] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    pages: int = 0
    kept: int = 0
    answers: int = 0
    unreadable: int = 0
    _seen: dict[str, str] = field(default_factory=dict)  # question id -> the page that has it
    _searched: int = 0

    @property
    def counts(self) -> Counts:
        """What the data has; a page counts as one article with one paragraph."""
        return Counts(
            articles=self.pages,
            paragraphs=self.pages,
            questions=self.kept + len(self.left_out),
            kept=self.kept,
            left_out=len(self.left_out),
            answers=self.answers,
            unreadable=self.unreadable,
        )

    def __post_init__(self) -> None:
        self.needs = replace(self.needs, numbered_ids=False)  # numbers are given once all ids are known

    def __iter__(self) -> Iterator[Page]:
        files = files_of(self.path)
        for file in files:
            prefix = f"{file.name} " if len(files) > 1 else ""
            with file.open() as stream:
                reader = ListReader(stream, "data", where=file.path, max_bytes=strict_json.size_limit())
                for element in reader:
                    page = self._page(element, prefix, file.path)
                    if self.on_bytes:
                        self.on_bytes(len(element.raw))
                    if page is not None:
                        yield page
            self._collect(self._check_outside(reader), prefix)
        if not self.kept and not self.left_out and not self.problems:
            raise DataError("has no questions", where=_shown(self.path), fix=_NO_QUESTIONS)

    def _collect(self, problems: Iterable[Problem], prefix: str) -> None:
        self.problems += [replace(problem, path=prefix + problem.path) for problem in problems]

    def _check_outside(self, reader: ListReader) -> list[Problem]:
        """What is wrong with a file beside its pages."""
        checker, root = Checker(self.needs, reader.problems), reader.outside
        if not isinstance(root, dict):
            checker.add("$", None, f"is {describe_value(root)}", 'make it an object with "data"')
            self.unreadable += 1
            return checker.problems
        version = root.get("version", "")
        if self.needs.unused_fields and not isinstance(version, str | int | float):
            checker.add("$", "version", f"is {describe_value(version)}", "make it text")
        for i, entry in enumerate(checker.get(root, "data", list, "$") or []):
            if not isinstance(entry, dict):  # each page is {} here
                checker.add(f"$.data[{i}]", None, f"is {describe_value(entry)}", "make it an object")
                self.unreadable += 1
        return checker.problems

    def _page(self, element: Element, prefix: str, file: str) -> Page | None:
        path = f"$.data[{element.index}]"
        try:
            value, odd = element.parse(prefix + path)
            if not isinstance(value, dict):
                raise DataError(f"is {describe_value(value)}", fix="make it an object")
        except DataError as error:
            self._collect([Problem(path, error.what, error.fix or "correct it")], prefix)
            self.unreadable += 1
            return None
        if "paragraphs" in value and "qas" not in value:
            raise DataError(
                "is in the layout of KorQuAD 1.0 (paragraphs of plain text)",
                where=file,
                fix="read it with load_squad, or with the commands for KorQuAD 1.0",
            )
        ids = ChainMap[str, str]({}, self._seen)
        moved = {path + at[1:]: replace(problem, path=path + at[1:]) for at, problem in odd.items()}
        checker = Checker(self.needs, moved, seen=ids, searched=self._searched)
        page, left_out = _PageCheck(
            checker, value, path, self.raw_html, self.raw_html or self.check_raw_html
        ).page()
        self._seen.update(dict.fromkeys(ids.maps[0], prefix + path))
        self._searched = checker.searched
        self._collect(checker.problems, prefix)
        self.left_out += [prefix + name if name.startswith(path) else name for name in left_out]
        self.pages += 1
        self.kept += len(page.examples)
        self.answers += sum(len(example.answers) for example in page.examples)
        self.unreadable += not isinstance(value.get("qas"), list)
        return page


@dataclass(slots=True)
class _PageCheck:
    """Checks one page."""

    checker: Checker
    value: dict[str, Any]
    path: str
    raw_html: bool  # it must be there, and stays in the page
    check_raw_html: bool

    def page(self) -> tuple[Page, list[str]]:
        """The page with its usable questions, and the names of the others."""
        checker, path = self.checker, self.path
        title = checker.title(self.value, path)
        context = checker.context(self.value, path)
        url = self._text("url") if checker.needs.unused_fields else self.value.get("url")
        raw = self._text("raw_html", needed=self.raw_html) if self.check_raw_html else None
        examples, left_out = [], []
        for i, qa in enumerate(checker.get(self.value, "qas", list, path) or ()):
            place = f"{path}.qas[{i}]"
            example = self._question(qa, place, context, title, raw)
            if isinstance(example, Example):
                examples.append(example)
            else:
                left_out.append(example or place)
        page = Page(
            title,
            url if isinstance(url, str) else "",
            context or "",
            tuple(examples),
            raw if self.raw_html else None,
        )
        return page, left_out

    def _text(self, key: str, *, needed: bool = False) -> str | None:
        """A text that no command needs; a problem only if it is of another kind, or missing though needed."""
        if not needed and (key not in self.value or not self.checker.needs.unused_fields):
            return None
        text = self.checker.get(self.value, key, str, self.path)
        return str(text) if text is not None else None

    def _question(
        self, qa: object, path: str, context: str | None, title: str, raw: str | None
    ) -> Example | str | None:
        """The example, or the id (None if it has none) of a question with a problem."""
        checker = self.checker
        if not isinstance(qa, dict):
            if not isinstance(qa, strict_json.NotANumber):  # that is a finding of the parser
                checker.add(path, None, f"is {describe_value(qa)}", "make it an object")
            return None
        before = len(checker.problems)
        answer = qa.get("answer")
        if checker.needs.answers and "answers" not in qa:
            if isinstance(answer, dict):
                self._in_raw_html(answer, path, raw)
            elif "answer" not in qa:
                checker.add(path, None, 'has no "answer"', f'add "answer": {_ANSWER_FIX[8:]}')
            elif not isinstance(answer, strict_json.NotANumber):
                checker.add(path, "answer", f"is {describe_value(answer)}", _ANSWER_FIX)
        golds = [answer] if isinstance(answer, dict) else []
        flat = qa if "answers" in qa else {**qa, "answers": golds}
        if not golds and "answers" not in qa:  # reported above: check the other fields
            flat["is_impossible"] = True
        example = checker.question(flat, path, context, title)
        for i in range(before, len(checker.problems)):
            problem = checker.problems[i]
            checker.problems[i] = replace(
                problem,
                path=problem.path.replace(f"{path}.answers[0]", f"{path}.answer", 1),
                id=problem.id or (example if isinstance(example, str) else getattr(example, "id", None)),
            )
        if isinstance(example, Example) and len(checker.problems) > before:
            return example.id
        return example

    def _in_raw_html(self, answer: dict[str, Any], path: str, raw: str | None) -> None:
        """Check the answer's text and place in the page as crawled."""
        checker, here = self.checker, f"{path}.answer"
        if raw is None or not checker.needs.offsets:
            return
        text = checker.get(answer, "html_answer_text", str, here)
        start = checker.get(answer, "html_answer_start", int, here)
        if text is None or start is None:
            return
        if start < 0 or not raw.startswith(text, start):
            fix = "correct it, or remove both fields: they are used only with raw_html"
            checker.add(here, "html_answer_start", f"is {start}, where raw_html has another text", fix)


# --- files -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DataFile:
    """A JSON file on the disk, or in a ZIP file (then ``member`` is its name there)."""

    archive: Path
    member: str | None
    size: int  # bytes, unpacked

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.archive.name if self.member is None else f"{self.archive.name}/{self.member}"

    @property
    def path(self) -> str:
        """Where it is, for messages."""
        return str(self.archive) if self.member is None else f"{self.archive}/{self.member}"

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes. Raises StorageError, DataError for a ZIP file that is damaged or encrypted."""
        try:
            if self.member is None:
                with self.archive.open("rb") as file:
                    yield file
            else:
                with zipfile.ZipFile(self.archive) as archive, archive.open(self.member) as file:
                    yield file
        except OSError as error:
            raise StorageError(
                f"can't be read ({error.strerror or error})",
                where=self.path,
                fix="check its permissions and the disk",
            ) from error
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise DataError(
                f"can't be unpacked ({error})", where=self.path, fix="get the file again"
            ) from error


def files_of(path: str | Path | Sequence[Path]) -> list[DataFile]:
    """The JSON files of a path, in the order of their names; a list of files in its own order.

    Raises DataError if there is none.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else list(path)
    folder = paths[0] if len(paths) == 1 and paths[0].is_dir() else None
    if folder is not None:
        paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
        paths = [p for p in paths if p.name.lower().endswith(("json", ".json.gz", ".zip"))]
    names = {p.name for p in paths}
    files: list[DataFile] = []
    for file in paths:
        if not file.exists():
            raise DataError("there is no such file", where=str(file), fix="check the path")
        if zipfile.is_zipfile(file):
            files += [member for member in _members(file) if Path(member.member or "").name not in names]
        else:
            files.append(DataFile(file, None, file.stat().st_size))
    if not files:
        what = "has no JSON file" if folder is None else "has no JSON or ZIP file directly in it"
        raise DataError(what, where=_shown(path), fix=_NO_QUESTIONS)
    return files


def _members(archive: Path) -> list[DataFile]:
    try:
        with zipfile.ZipFile(archive) as file:
            infos = sorted(file.infolist(), key=lambda info: info.filename)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"is a damaged ZIP file ({error})", where=str(archive), fix="get it again") from error
    return [
        DataFile(archive, info.filename, info.file_size)
        for info in infos
        if info.filename.endswith(".json") and not info.filename.startswith("__MACOSX/")
    ]


def _shown(path: str | Path | Sequence[Path]) -> str:
    return str(path) if isinstance(path, str | Path) else ", ".join(map(str, path))
