"""Texts that do not hold the answer, and answers from different places of a text."""

from komrc import Reader

CONTEXT = "훈민정음은 세종이 1443년에 만들고 1446년에 반포하였다. 해설서는 집현전 학자들이 썼다."

reader = Reader.load()

# The empty answer wins where the model finds no answer; its score is the probability of that.
for question in ("훈민정음은 누가 만들었나?", "거북선은 누가 만들었나?"):
    answer = reader.read(question, CONTEXT, allow_no_answer=True)[0]
    print(question, answer.text or "(no answer)", f"{answer.score:.0%}")

# Without distinct, several answers are often longer and shorter forms of one place.
for distinct in (False, True):
    answers = reader.read(
        "훈민정음과 관련된 해는?", CONTEXT, top_k=3, distinct=distinct, allow_no_answer=False
    )
    print("different places:" if distinct else "best spans:", [answer.text for answer in answers])
