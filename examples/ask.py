"""Ask a question on a text with the embedded model. Needs no network and no torch."""

from komrc import Reader

CONTEXT = "훈민정음은 1443년에 세종이 창제하였으며 1446년에 반포되었다."

reader = Reader.load()
for question in ("훈민정음은 누가 창제했나?", "훈민정음은 몇 년에 반포되었나?"):
    answer = reader.read(question, CONTEXT)[0]
    assert CONTEXT[answer.start : answer.end] == answer.text
    print(f"{question} {answer.text} ({answer.score:.0%}, characters {answer.start} to {answer.end})")
