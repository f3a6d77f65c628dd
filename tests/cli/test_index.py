"""``komrc index`` and ``komrc search``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from komrc.cli import main

pytest.importorskip("tantivy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "문서"
    root.mkdir()
    (root / "휴가.txt").write_text("연차는 사흘 전에\n신청한다.", encoding="utf-8")
    (root / "급여.txt").write_text("급여는 25일에 지급한다.", encoding="utf-8")
    return root


def test_index_search_update_remove_info(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "my.index")
    assert main(["index", str(folder), "--output", output]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 2
    assert main(["search", "연차 신청", "--index", output, "--top-k", "1"]) == 0
    score, document, start, end, page, line, text = capsys.readouterr().out.rstrip("\n").split("\t")
    assert (document, start, end, page, line) == ("휴가.txt", "0", "15", "", "1") and float(score) > 0
    assert text == "연차는 사흘 전에 신청한다."
    assert main(["search", "급여", "--index", output, "--json"]) == 0
    (passage,) = json.loads(capsys.readouterr().out)["passages"]
    assert passage["text"] == "급여는 25일에 지급한다." and passage["title"]
    (folder / "새것.txt").write_text("출장비", encoding="utf-8")
    assert main(["index", output, "--update"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 1
    assert (
        main(["index", output, "--remove", str(folder / "휴가.txt"), "--remove", str(folder / "급여.txt")])
        == 0
    )
    assert json.loads(capsys.readouterr().out) == {"removed": 2}
    assert main(["index", output, "--info"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["documents"] == 1 and info["paths"] == [str(folder)] and len(info["left_out"]) == 2


def test_unread_files_are_named_and_the_exit_code_is_3(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    assert main(["index", str(folder), "--output", str(tmp_path / "my.index")]) == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out)["added"] == 2 and json.loads(printed.out)["unread"] == 1
    assert f"{folder / 'broken.pdf'}: " in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "{folder}"], "--output"),
        (["index", "{folder}", "--info"], "is no index"),
        (["index", "{folder}", "{folder}", "--update"], "needs one index"),
        (["index", "nothing", "--output", "{folder}/x"], "does not exist"),
        (["index", "{folder}", "--output", "{folder}"], "contains files and is no index"),
        (["index", "{folder}", "--output", "{folder}/휴가.txt"], "휴가.txt"),
        (["search", "연차", "--index", "{folder}"], "is no index"),
        (["search", "연차", "--index", "nothing"], "does not exist"),
    ],
)
def test_mistakes_end_with_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    try:
        code = main([argument.format(folder=folder) for argument in arguments])
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err


def test_nothing_found_is_named_on_stderr(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["index", str(folder), "--output", str(tmp_path / "my.index")])
    capsys.readouterr()
    assert main(["search", "없는말", "--index", str(tmp_path / "my.index")]) == 0
    printed = capsys.readouterr()
    assert printed.out == "" and "no passage" in printed.err


def test_searching_imports_neither_torch_nor_the_reader(folder: Path, tmp_path: Path) -> None:
    main(["index", str(folder), "--output", str(tmp_path / "my.index")])
    code = (
        "import sys; from komrc.cli import main; "
        f"main(['search', '연차', '--index', {str(tmp_path / 'my.index')!r}]); "
        "heavy = ('torch', 'transformers', 'onnxruntime', 'komrc.reader'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_the_package_the_extra_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import util

    from komrc import errors

    monkeypatch.delitem(sys.modules, "tantivy", raising=False)
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == "tantivy" else util.find_spec(name))
    assert main(["index", str(folder), "--output", str(tmp_path / "my.index")]) == 8
    assert "komrc[documents]" in capsys.readouterr().err
