"""Start the server, ask it over HTTP, and stop it. Needs: pip install '.[serve]'"""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator

import httpx


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The address of a server that runs while the block does."""
    command = [sys.executable, "-m", "komrc", "serve", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if address := re.search(r"ready at (http://\S+)", line):
                yield address[1]
                return
        raise SystemExit("the server did not start")
    finally:
        process.terminate()
        process.communicate()


with server() as address:
    body = {
        "question": ["훈민정음은 누가 창제했나?", "훈민정음은 언제 창제했나?"],
        "context": "훈민정음은 1443년에 세종이 창제하였다.",
    }
    reply = httpx.post(f"{address}/v1/answers", json=body, timeout=60).raise_for_status().json()
    for question, result in zip(body["question"], reply["results"], strict=True):
        print(question, result["answers"][0]["text"])
