"""Which files of a folder are read, in which order, and what keeps the others from being read."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from support import office_files

from komrc.documents import Document, Limits, Unread, read_documents
from komrc.documents.formats import txt
from komrc.errors import MissingPackageError

LIMITS = Limits()


def ids(*paths: Path) -> list[str]:
    return [
        entry.id if isinstance(entry, Document) else f"! {Path(entry.source).name}"
        for entry in read_documents(paths)
    ]


def reason(path: Path, data: bytes, limits: Limits = LIMITS) -> str:
    """Why the file is not read; the one after it is."""
    path.write_bytes(data)
    after = path.with_name("zz.txt")
    after.write_text("다음 파일")
    unread, document = read_documents([path.parent], limits=limits)
    assert isinstance(document, Document) and document.text == "다음 파일"
    assert isinstance(unread, Unread) and unread.source == str(path), unread
    return unread.reason


def test_sorted_without_hidden_files_and_folders_of_programs(tmp_path: Path) -> None:
    names = [
        "b.txt",
        "a/나.txt",
        "a/가.md",
        ".hidden.txt",
        ".git/x.txt",
        "node_modules/x.txt",
        "__pycache__/x.txt",
    ]
    for name in [*names, "~$a.docx", "a/Thumbs.db", "README"]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("글")
    assert ids(tmp_path) == ["README", "a/가.md", "a/나.txt", "b.txt"]
    assert ids(tmp_path) == ids(tmp_path)


def test_ids_with_several_paths_are_the_paths_as_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one/a.txt", "two/a.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("글")
    monkeypatch.chdir(tmp_path)
    assert ids(Path("one"), Path("two"), Path("two/a.txt")) == ["one/a.txt", "two/a.txt"]
    assert ids(Path("two/a.txt"), Path("missing.txt")) == ["two/a.txt", "! missing.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_links_lead_neither_into_a_circle_nor_out(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("글")
    (tmp_path / "secret.txt").write_text("비밀")
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "same.txt").symlink_to(folder / "sub" / "a.txt")
    (folder / "self").symlink_to(folder / "self")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "broken.txt").symlink_to(folder / "nothing.txt")
    assert ids(folder) == ["! broken.txt", "! out.txt", "! self", "sub/a.txt"]
    (tmp_path / "link").symlink_to(folder)  # a link that is given is followed
    assert "sub/a.txt" in ids(tmp_path / "link")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    assert ids(tmp_path) == ["! a.txt"]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="no such permissions there")
def test_files_and_folders_without_permission() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in ("a/x.txt", "b/x.txt", "c.txt", "d.txt"):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text("글")
        user = os.geteuid()
        try:
            (folder / "a").chmod(0)  # can't be listed
            (folder / "b").chmod(0o444)  # can be listed, but not entered
            (folder / "c.txt").chmod(0)
            folder.chmod(0o755)
            if user == 0:
                os.seteuid(65534)  # root reads everything
            assert ids(folder) == ["! a", "! x.txt", "! c.txt", "d.txt"]
        finally:
            os.seteuid(user)
            for path in ("a", "b"):
                (folder / path).chmod(0o755)


def test_a_very_deep_folder_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "a/b/c/d").mkdir(parents=True)
    (tmp_path / "a/b/c/d/x.txt").write_text("글")
    (unread,) = read_documents([tmp_path], limits=replace(LIMITS, folder_depth=2))
    assert isinstance(unread, Unread) and "folders deep" in unread.reason


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.txt", b"", "empty"),
        ("a.txt", b" \n\n ", "no text"),
        ("a.txt", bytes(range(256)) * 40, "not text"),
        ("a.pdf", b"this is no pdf", "not a PDF"),
        ("a.pdf", b"%PDF-1.7\nbroken", "damaged"),
        ("a.docx", b"PK\x03\x04broken", "damaged"),
        ("a.xlsx", b"\x00\x01\x02", "not an Excel"),
        ("a.hwp", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1broken", "damaged"),
        ("a.hwp", b"HWP Document File V3.00 \x1a\x01\x02\x03\x04\x05" + b"\0" * 100, "version 3"),
        ("a.json", b'{"data": [', "cut off"),
        ("a.json", b'{"data": 3}', "no documents"),
        ("a.parquet", b"PAR1broken", "can't be read"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "PNG"),
        ("a.exe", b"MZ\x90\0\x03\0\0\0", "not read"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + b"\0" * 100, "archive"),
        ("a.tar.gz", b"\x1f\x8b\x08\0" + b"\0" * 100, "archive"),
    ],
)
def test_a_bad_file_is_named_with_its_reason(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    assert words in reason(tmp_path / name, data)


def test_encrypted_files(tmp_path: Path) -> None:
    for name, data in [
        ("a.pdf", office_files.pdf_bytes(password="key")),
        ("a.hwp", office_files.hwp_bytes(flags=3)),
        ("a.docx", office_files.compound_file({"EncryptedPackage": b"x", "EncryptionInfo": b"y"})),
    ]:
        folder = tmp_path / name
        folder.mkdir()
        assert "encrypted" in reason(folder / name, data)
    assert "for distribution" in reason(tmp_path / "a.hwp" / "a.hwp", office_files.hwp_bytes(flags=5))


@pytest.mark.parametrize(
    ("name", "stream", "words"),
    [
        ("a.doc", "WordDocument", "DOCX"),
        ("a.xls", "Workbook", "XLSX"),
        ("a.ppt", "PowerPoint Document", "PPTX"),
    ],
)
def test_old_office_files_should_be_saved_in_the_new_format(
    tmp_path: Path, name: str, stream: str, words: str
) -> None:
    assert f"ave it as {words}" in reason(tmp_path / name, office_files.compound_file({stream: b"x"}))


def test_a_pdf_of_pictures_needs_ocr(tmp_path: Path) -> None:
    assert "OCR" in reason(tmp_path / "scan.pdf", office_files.pdf_bytes(text=False))


def test_the_content_counts_more_than_the_ending(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_bytes(office_files.docx_bytes())
    (tmp_path / "2.doc").write_text("<html><body><p>웹에서 받은 글")
    (tmp_path / "3.hwp").write_bytes(office_files.hwpx_bytes())
    (tmp_path / "4").write_bytes(office_files.xlsx_bytes())
    documents = list(read_documents([tmp_path]))
    assert [isinstance(document, Document) for document in documents] == [True] * 4
    assert "연차는 사흘 전에" in documents[0].text and "연차는 사흘 전에" in documents[2].text  # type: ignore[union-attr]


def test_text_with_an_unknown_ending_is_read_only_if_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "notes.org"
    path.write_text("글이다")
    assert ids(tmp_path) == ["! notes.org"]
    assert ids(path) == [path.as_posix()]


# --- limits ------------------------------------------------------------------------------------------------


def zipped(members: dict[str, bytes]) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return file.getvalue()


@pytest.mark.parametrize(
    "name", ["word/document.xml", "ppt/presentation.xml", "xl/workbook.xml", "Contents/section0.xml"]
)
def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, name: str) -> None:
    bomb = zipped({"[Content_Types].xml": b"<x/>", name: b"\0" * (32 << 20)})
    assert "when unpacked" in reason(tmp_path / "a.docx", bomb)


def test_an_hwp_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = office_files.hwp_bytes(section=b"\0" * (32 << 20))
    assert "too large" in reason(tmp_path / "a.hwp", bomb)


def test_an_entity_bomb_is_not_expanded(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    xml = f'<!DOCTYPE x [<!ENTITY e0 "폭탄">{levels}]><sec><p><run><t>&e9;</t></run></p></sec>'
    why = reason(tmp_path / "a.hwpx", zipped({"Contents/section0.xml": xml.encode()}))
    assert "no text" in why or "can't be read" in why


def test_sizes_over_the_limits(tmp_path: Path) -> None:
    assert "too large" in reason(tmp_path / "a.txt", b"x" * 2000, replace(LIMITS, file_bytes=1000))
    assert "more than 100 characters" in reason(
        tmp_path / "a.txt", b"x" * 200, replace(LIMITS, characters=100)
    )
    hwpx = office_files.hwpx_bytes()
    (tmp_path / "a.txt").unlink()
    assert "more than 10 characters" in reason(tmp_path / "a.hwpx", hwpx, replace(LIMITS, characters=10))
    assert "when unpacked" in reason(tmp_path / "a.hwpx", hwpx, replace(LIMITS, unpacked_bytes=1000))
    assert "files" in reason(tmp_path / "a.hwpx", hwpx, replace(LIMITS, archive_members=3))


def test_a_reader_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    deep = b"<ul>" * 3000 + b"x"
    for name in ("a.html", "b.html"):
        (tmp_path / name).write_bytes(deep)
    (tmp_path / "c.txt").write_text("글")
    *unread, document = read_documents([tmp_path], limits=replace(LIMITS, seconds=0.0))
    assert all(isinstance(entry, Unread) and "within 0 seconds" in entry.reason for entry in unread)
    assert len(unread) == 2 and isinstance(document, Document)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is for Linux")
def test_a_reader_that_needs_too_much_memory_ends_and_the_next_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(b"<p>x" * 3_000_000)
    (tmp_path / "b.html").write_bytes("<p>다음".encode())
    unread, document = read_documents([tmp_path], limits=replace(LIMITS, memory_bytes=300 << 20))
    assert isinstance(unread, Unread), "without the limit it is read"
    assert isinstance(document, Document)


# --- changes and missing packages --------------------------------------------------------------------------


def changed(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the file change the first times that it is read."""
    original, left = txt.read, [times]

    def read(path: Path, limits: Limits) -> object:
        if left[0]:
            left[0] -= 1
            path.write_text(path.read_text() + "!")
        return original(path, limits)

    monkeypatch.setattr(txt, "read", read)


def test_a_file_that_changed_once_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("글")
    changed(monkeypatch, 1)
    (document,) = read_documents([tmp_path])
    assert isinstance(document, Document) and document.text == "글!"


def test_a_file_that_changes_all_the_time_is_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("글")
    changed(monkeypatch, 2)
    (unread,) = read_documents([tmp_path])
    assert isinstance(unread, Unread) and "written to" in unread.reason


def test_a_missing_package_is_named_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from komrc import errors

    find_spec = importlib.util.find_spec
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == "pypdfium2" else find_spec(name))
    monkeypatch.delitem(sys.modules, "pypdfium2", raising=False)
    (tmp_path / "a.txt").write_text("글")
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.7")
    entries = read_documents([tmp_path])
    assert isinstance(next(entries), Document)
    with pytest.raises(MissingPackageError, match=r"komrc\[documents\]"):
        next(entries)


def test_text_needs_no_package_of_the_extra() -> None:
    names = ["lxml", "docx", "pptx", "python_calamine", "olefile", "pypdfium2", "pyarrow"]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({names!r}))
from komrc.documents.formats import csv, md, records, txt
import komrc.documents
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_process_is_left_when_a_walk_ends_early(tmp_path: Path) -> None:
    import psutil

    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text("글")
    entries = read_documents([tmp_path])
    assert isinstance(next(entries), Document)
    (child,) = [child for child in psutil.Process().children() if "komrc.documents.worker" in child.cmdline()]
    entries.close()  # type: ignore[attr-defined]
    assert not child.is_running()


def test_a_module_in_the_current_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "markdown_it.py").write_text("open('was-run', 'w').close()")
    (tmp_path / "json.py").write_text("open('was-run', 'w').close()")
    (tmp_path / "a.md").write_text("# 글")
    (document,) = read_documents([tmp_path / "a.md"])
    assert isinstance(document, Document)
    assert not (tmp_path / "was-run").exists()


def test_a_process_that_was_killed_between_two_files_is_started_again(tmp_path: Path) -> None:
    import psutil

    for name in ("a.md", "b.md", "c.md"):
        (tmp_path / name).write_text("글")
    entries = read_documents([tmp_path])
    next(entries)
    for child in psutil.Process().children():
        if "komrc.documents.worker" in child.cmdline():
            child.kill()
    assert [isinstance(entry, Document) for entry in entries] == [True, True]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xc7\xd1.md")).write_text("글")
    (document,) = read_documents([tmp_path])
    assert isinstance(document, Document)
    (document.id + document.source + document.title).encode()


def test_a_sheet_with_one_cell_far_away(tmp_path: Path) -> None:
    import openpyxl

    workbook = openpyxl.Workbook()
    workbook.active["A1"] = "연차"
    workbook.active["XFD1048576"] = "끝"
    with io.BytesIO() as file:
        workbook.save(file)
        assert reason(tmp_path / "a.xlsx", file.getvalue())
