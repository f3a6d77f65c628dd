"""Commands in real surroundings: every encoding, closed streams, pipes that end early, signals."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from komrc.cli import main
from komrc.cli.commands import SUMMARIES

TEXT = "대회의 우승자는 김하나😀선수이다. 김하나는 2019년에도 우승하였다."
QUESTION = "우승자는 누구인가?"
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ENCODINGS = ("cp949", "latin-1", "ascii", "euc-kr", "utf-16", "cp437")
SURROUNDINGS = [*({"PYTHONIOENCODING": encoding} for encoding in ENCODINGS), C_LOCALE]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "글.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def komrc(
    *arguments: str | bytes, environment: dict[str, str] | None = None, shell: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Run a command; ``shell`` is what follows it on a shell's line, such as a redirection."""
    command: list[str | bytes] = [sys.executable, "-m", "komrc", *arguments]
    surroundings = {k: v for k, v in os.environ.items() if k != "PYTHONUTF8"} | (environment or {})
    if shell:
        line = f"{shlex.join(map(str, command))} {shell}"
        return subprocess.run(["bash", "-c", line], capture_output=True, env=surroundings, check=False)
    return subprocess.run(command, capture_output=True, env=surroundings, check=False)


def messages(done: subprocess.CompletedProcess[bytes]) -> list[bytes]:
    """Lines on standard error, without the progress that a busy machine may show."""
    return [line for line in done.stderr.splitlines() if not line.startswith((b"reading", b"answering"))]


def encoding_of(environment: dict[str, str]) -> str:
    """What the output must be in: the encoding asked for where it has Hangul, else UTF-8."""
    wanted = environment.get("PYTHONIOENCODING", "ascii")
    return wanted if wanted in ("cp949", "euc-kr", "utf-16") else "utf-8"


@pytest.mark.parametrize("environment", SURROUNDINGS, ids=lambda e: "-".join(e.values()))
def test_answers_are_written_in_every_encoding(context: Path, environment: dict[str, str]) -> None:
    ask = ["ask", QUESTION, "--context", str(context)]
    plain = komrc(*ask, "--top-k", "5", environment=environment)
    assert (plain.returncode, messages(plain)) == (0, [])
    said = plain.stdout.decode(encoding_of(environment))
    assert "김하나" in said
    assert "😀" in said or "\\U0001f600" in said
    as_json = komrc(*ask, "--json", environment=environment)
    assert json.loads(as_json.stdout.decode(encoding_of(environment)))["question"] == QUESTION


def test_every_help_is_written_in_every_encoding() -> None:
    program = """
import io, sys
from komrc.cli import main
for arguments in (*([name] for name in sys.argv[1:]), ["data", "lint"], []):
    sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    try:
        main([*arguments, "--help"])
    except SystemExit as ended:
        assert ended.code == 0
    sys.stdout.flush()
    assert "usage: komrc" in sys.stdout.buffer.getvalue().decode("utf-8"), arguments
"""
    done = subprocess.run([sys.executable, "-c", program, *SUMMARIES], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "cp949"}, C_LOCALE], ids=["cp949", "C"])
def test_errors_are_written_in_every_encoding(tmp_path: Path, environment: dict[str, str]) -> None:
    done = komrc("ask", QUESTION, "--context", str(tmp_path / "없는 글😀.txt"), environment=environment)
    assert done.returncode == 2
    assert "없는 글" in done.stderr.decode(encoding_of(environment))
    assert b"Traceback" not in done.stderr


# --- closed streams and pipes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "redirection", "code", "stream"),
    [
        ("-", "<&-", 2, b"standard input"),
        ("FILE", ">&-", 6, b"standard output"),
        ("FILE", "<&- >&-", 6, b"standard output"),
    ],
)
def test_a_closed_stream_is_one_message(
    context: Path, source: str, redirection: str, code: int, stream: bytes
) -> None:
    name = str(context) if source == "FILE" else source
    done = komrc("ask", QUESTION, "--context", name, shell=redirection)
    assert done.returncode == code
    (message,) = messages(done)
    assert stream + b": is closed" in message


def test_help_to_a_closed_output_is_one_message() -> None:
    done = komrc("--help", shell=">&-")
    assert (done.returncode, done.stderr.count(b"\n")) == (6, 1)


def test_messages_never_reach_an_output_whose_stderr_is_closed(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(
        json.dumps({"id": "1", "question": QUESTION, "context": TEXT}), encoding="utf-8"
    )
    done = komrc(
        *("predict", "--data", str(tmp_path / "q.jsonl"), "--output", str(tmp_path / "a.json")), shell="2>&-"
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert list(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))) == ["1"]


def test_work_is_done_though_nobody_reads_the_messages(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(
        json.dumps({"id": "1", "question": QUESTION, "context": TEXT}), encoding="utf-8"
    )
    done = komrc(
        *("predict", "--data", str(tmp_path / "q.jsonl"), "--output", str(tmp_path / "a.json")),
        shell="2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}",
    )
    assert done.returncode == 0
    assert (tmp_path / "a.json").exists()


def test_a_reader_that_leaves_early_is_no_error(context: Path) -> None:
    ask = ["ask", QUESTION, "--context", str(context)]
    done = komrc(*ask, shell="| true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, messages(done)) == (0, [])


# --- signals -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hangup_by_default")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_with_one_line(tmp_path: Path, number: signal.Signals) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "komrc", "ask", QUESTION, "--context", str(fifo)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        with fifo.open("wb"):  # opened at both ends: the command waits for the text
            time.sleep(0.2)
            process.send_signal(number)
            assert process.stderr is not None
            said = process.stderr.read()
    assert (process.returncode, said) == (128 + number, b"komrc: stopped\n")


def test_a_second_signal_ends_the_command_at_once() -> None:
    program = """
import os, signal, sys, time
from komrc.cli import console
try:
    with console.prepared():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
finally:
    print("not reached")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_what_nohup_ignores_stays_ignored() -> None:
    program = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from komrc.cli import console
with console.prepared():
    os.kill(os.getpid(), signal.SIGHUP)
print("done")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"done\n")


# --- questions ---------------------------------------------------------------------------------------------


def test_a_question_without_quotation_marks_gets_advice(
    context: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["우승자는", "누구인가?"], ["-40도는?"]):
        with pytest.raises(SystemExit) as ended:
            main(["ask", *words, "--context", str(context)])
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert "quotation marks" in said and '-- "' in said


def test_a_question_that_begins_with_a_dash_follows_two(
    context: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", "--context", str(context), "--", "-2019년의우승자는?"]) == 0
    assert capsys.readouterr().out


def test_a_question_in_cp949_gets_advice(context: Path) -> None:
    done = komrc("ask", QUESTION.encode("cp949"), "--context", str(context))
    assert done.returncode == 2
    assert b"CP949" in done.stderr and b"UTF-8" in done.stderr and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("script", ["run_squad.py", "evaluate_v1_0.py"])
def test_the_scripts_of_2020_write_their_help_in_every_encoding(script: str) -> None:
    command = [sys.executable, str(Path(__file__).parents[2] / script), "--help"]
    surroundings = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=surroundings, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "…" in done.stdout.decode("utf-8")
