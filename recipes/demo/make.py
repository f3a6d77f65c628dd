"""Write the data of ``komrc demo``: everyday texts that it asks about, and weather reports that it trains on.

    python recipes/demo/make.py [FOLDER]

The reports are invented; their form is that of METAR, the code in which airports report weather (WMO Manual
on Codes, FM 15). The parts share no report and no wording of a question. The same files every time.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "src/komrc/resources/demo"
REPORTS = {"train": 50, "dev": 20}

AIRPORTS = ("RKSI", "RKSS", "RKPC", "RKPK", "RKTN", "RKTU", "RKJJ", "RKNY", "RKPU", "RKJY", "RKPS", "RKTH")

# A notice, a table, a chat, and questions with their answers; no answer where the text has none.
EVERYDAY = {
    "[공지] 작은도서관 이용 안내\n평일은 오전 10시부터 오후 8시까지 엽니다. 월요일은 쉽니다.\n"
    "책은 1인당 5권까지 14일 동안 빌릴 수 있고, 한 번 연장할 수 있습니다.": {
        "며칠 동안 빌릴 수 있어?": "14일",
        "쉬는 날은?": "월요일",
        "주차 요금은 얼마인가요?": "",
    },
    "메뉴\t가격\t열량\n아메리카노\t3,000원\t10kcal\n카페라테\t3,800원\t180kcal\n유자차\t4,200원\t210kcal": {
        "카페라테 가격은?": "3,800원",
        "유자차는 몇 칼로리야?": "210kcal",
    },
    "민지: 토요일에 어디서 볼까?\n준호: 합정역 7번 출구 앞 어때\n민지: 좋아 2시에 보자\n"
    "준호: 나 10분 늦을 듯ㅠ": {
        "몇 시에 봐?": "2시",
        "무슨 영화 볼 거야?": "",
    },
}

# What is asked for -> its wordings to train on, and the one to evaluate on.
QUESTIONS = {
    "code": (("어느 공항인가?", "공항 코드는?", "어디 기상 전문이야?"), "관측한 공항을 뭐라고 적었나?"),
    "time": (("관측 시각은?", "몇 시에 관측했나?", "언제 전문이야?"), "언제 관측한 것인가?"),
    "wind": (("바람은?", "풍향과 풍속은?", "바람이 어떻게 불어?"), "바람은 어느 쪽에서 얼마나 부나?"),
    "gust": (("돌풍은?", "돌풍은 몇 노트인가?", "순간 최대 풍속은?"), "돌풍이 얼마나 세게 부나?"),
    "visibility": (("시정은?", "시정은 몇 미터인가?", "얼마나 멀리 보여?"), "시정이 얼마나 되나?"),
    "weather": (("현재 일기는?", "날씨 현상은?", "비나 눈이 와?"), "비, 눈, 안개가 있나?"),
    "cloud": (("구름은?", "가장 낮은 구름은?", "하늘 상태는?"), "가장 낮은 구름층은 어떤가?"),
    "temperature": (("기온은?", "몇 도인가?", "지금 온도 알려 줘"), "기온이 몇 도나 되나?"),
    "dew point": (("이슬점은?", "노점 온도는?", "이슬점이 몇 도야?"), "이슬점 온도는 몇 도인가?"),
    "pressure": (("기압은?", "QNH는?", "고도계 수정치는?"), "기압이 얼마인가?"),
}


class Report:
    """A report that grows group by group, and where each fact is in it."""

    def __init__(self) -> None:
        self.text = ""
        self.places: dict[str, tuple[int, str]] = {}

    def add(self, text: str, **facts: str) -> None:
        """A group; ``facts``: what is asked for -> the part of the group that answers it."""
        start = len(self.text) + (1 if self.text else 0)
        self.text = f"{self.text} {text}".lstrip()
        for fact, part in facts.items():
            at = text.rindex(part) if fact in ("dew point", "gust") else text.index(part)
            self.places[fact] = (start + at, part)


def degrees(value: int) -> str:
    """As METAR writes them: M is minus."""
    return f"{'M' if value < 0 else ''}{abs(value):02d}"


def report(draw: random.Random) -> Report:
    """One airport's, of one hour."""
    made = Report()
    made.add(draw.choice(["METAR", "METAR", "SPECI"]))
    code = draw.choice(AIRPORTS)
    made.add(code, code=code)
    time = f"{draw.randint(1, 28):02d}{draw.randint(0, 23):02d}{draw.choice(['00', '00', '30'])}Z"
    made.add(time, time=time)
    speed = draw.randint(2, 28)
    wind = (
        f"{draw.randrange(10, 370, 10):03d}{speed:02d}"
        if speed > 3 or draw.random() < 0.5
        else f"VRB{speed:02d}"
    )
    if speed > 10 and draw.random() < 0.5:
        gust = f"{speed + draw.randint(8, 16)}"
        made.add(f"{wind}G{gust}KT", wind=f"{wind}G{gust}KT", gust=gust)
    else:
        made.add(f"{wind}KT", wind=f"{wind}KT")
    temperature = draw.randint(-9, 32)
    if draw.random() < 0.45:
        kinds = ["-SN", "SN", "BLSN"] if temperature < 1 else ["-RA", "RA", "+RA", "SHRA", "-DZ", "TSRA"]
        weather = draw.choice([*kinds, "BR", "FG", "HZ"])
        far = draw.choice(["0300", "0800"]) if weather == "FG" else f"{draw.randint(12, 70)}00"
        made.add(far, visibility=far)
        made.add(weather, weather=weather)
    else:
        far = draw.choice(["9999", "9999", "8000", "7000"])
        made.add(far, visibility=far)
    base = draw.randint(5, 40)
    low = f"{draw.choice(['FEW', 'SCT', 'BKN', 'OVC'])}{base:03d}"
    made.add(low, cloud=low)
    if not low.startswith("OVC") and draw.random() < 0.5:
        made.add(f"{draw.choice(['BKN', 'OVC'])}{base + draw.randint(10, 60):03d}")
    air, dew = degrees(temperature), degrees(temperature - draw.randint(0, 12))
    made.add(f"{air}/{dew}", **{"temperature": air, "dew point": dew})
    pressure = f"Q{draw.randint(994, 1034):04d}"
    made.add(pressure, pressure=pressure)
    if draw.random() < 0.5:
        made.add("NOSIG")
    return made


def article(name: str, part: str, draw: random.Random) -> dict[str, Any]:
    """A report and a question on each kind of fact."""
    made = report(draw)
    questions = []
    for fact, (to_train, to_evaluate) in QUESTIONS.items():
        asked = draw.choice(to_train) if part == "train" else to_evaluate
        start, answer = made.places.get(fact, (0, ""))
        questions.append(question(f"{name}-{len(questions)}", asked, answer, start))
    return {"title": name, "paragraphs": [{"context": made.text + "=", "qas": questions}]}


def question(name: str, text: str, answer: str, start: int) -> dict[str, Any]:
    """A question as in SQuAD 2.0; an empty answer means that there is none."""
    answers = [{"text": answer, "answer_start": start}] if answer else []
    return {"id": name, "question": text, "answers": answers, "is_impossible": not answers}


def everyday() -> list[dict[str, Any]]:
    """``EVERYDAY`` as articles."""
    return [
        {
            "title": f"everyday-{n}",
            "paragraphs": [
                {
                    "context": context,
                    "qas": [
                        question(f"everyday-{n}-{m}", text, answer, context.index(answer))
                        for m, (text, answer) in enumerate(questions.items())
                    ],
                }
            ],
        }
        for n, (context, questions) in enumerate(EVERYDAY.items())
    ]


def main(folder: Path) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"everyday": everyday()}
    for part, count in REPORTS.items():
        draw = random.Random(part)
        files[part] = [article(f"metar-{part}-{n:02d}", part, draw) for n in range(count)]
    for name, data in files.items():
        text = json.dumps({"version": "komrc-demo", "data": data}, ensure_ascii=False, indent=1)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
