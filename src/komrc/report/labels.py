"""The texts of a report, in Korean and English."""

from __future__ import annotations

from typing import Literal

Language = Literal["ko", "en"]
LANGUAGES: tuple[Language, ...] = ("ko", "en")

_TEXTS: dict[str, tuple[str, str]] = {
    "title": ("기계독해 결과 보고서", "Reading comprehension report"),
    "switch": ("English", "한국어"),
    "questions": ("질문 수", "Questions"),
    "exact_match": ("정확 일치 (EM)", "Exact match"),
    "f1": ("글자 F1", "Character F1"),
    "interval": ("95 % 신뢰 구간", "95 % interval"),
    "ceiling": ("토크나이저의 한계 EM", "Tokenizer's EM ceiling"),
    "ceiling_note": (
        "낱말 조각 경계에서만 자를 때 얻을 수 있는 최고값 (F1 {f1:.1f})",
        "the most that cutting at token boundaries can give (F1 {f1:.1f})",
    ),
    "unreachable": ("답할 수 없는 질문", "Out of reach"),
    "unreachable_note": (
        "이 설정의 모델이 맞힐 수 없는 질문",
        "questions that a model with these settings can't answer right",
    ),
    "calibration": ("점수의 기대 교정 오차", "Calibration error"),
    "calibration_note": ("점수와 실제 정답률의 평균 차이", "mean gap between score and accuracy"),
    "missing": ("예측이 없는 질문", "Without a prediction"),
    "outcomes_title": ("답은 어떻게 틀렸나", "How answers fail"),
    "outcomes_note": (
        "예측을 정답과 비교해 나눈 결과입니다. 비교에는 공식 지표의 정규화를 씁니다.",
        "Each prediction set against the references, after the official metric's normalization.",
    ),
    "slices_title": ("어디서 점수를 잃나", "Where points are lost"),
    "slices_note": (
        "점은 값, 가로줄은 95 % 부트스트랩 신뢰 구간, 괄호는 질문 수입니다.",
        "Dots are values, bars 95 % bootstrap intervals; the number of questions is in brackets.",
    ),
    "reliability_title": ("점수를 믿을 수 있나", "Do scores mean something?"),
    "reliability_note": (
        "점선 위에 있으면 점수가 실제 정답률과 같습니다. 막대는 그 점수를 받은 답의 비율입니다.",
        "On the dashed line a score equals the share of right answers. Bars: how many get that score.",
    ),
    "score": ("점수", "Score"),
    "accuracy": ("정답 비율", "Share right"),
    "share": ("비율", "Share"),
    "comparison_title": ("두 실행 비교", "Two runs compared"),
    "comparison_note": (
        "둘 중 하나만 맞힌 질문으로 맥니마 검정을 합니다. 차이는 둘째에서 첫째를 뺀 값입니다.",
        "McNemar's test on the questions that one run alone has right. Differences are second minus first.",
    ),
    "first_run": ("첫째", "First"),
    "second_run": ("둘째", "Second"),
    "both_right": ("둘 다 맞음", "Both right"),
    "won": ("둘째만 맞음", "Second alone right"),
    "lost": ("첫째만 맞음", "First alone right"),
    "both_wrong": ("둘 다 틀림", "Both wrong"),
    "p_value": ("p 값", "p-value"),
    "difference": ("EM 차이", "EM difference"),
    "f1_difference": ("F1 차이", "F1 difference"),
    "significant": ("우연으로 보기 어렵습니다 (p < 0.05)", "unlikely to be chance (p < 0.05)"),
    "not_significant": ("우연일 수 있습니다 (p ≥ 0.05)", "may be chance (p ≥ 0.05)"),
    "errors_title": ("틀린 답 살펴보기", "Browse the errors"),
    "search": ("질문, 지문, 답에서 찾기", "search question, text, answers"),
    "all": ("모두", "all"),
    "kind": ("종류", "Kind"),
    "group": ("조건", "Slice"),
    "change": ("두 실행", "Runs"),
    "sort": ("정렬", "Sort"),
    "by_order": ("자료 순서", "data order"),
    "by_score": ("점수 높은 순", "most confident first"),
    "by_f1": ("F1 낮은 순", "lowest F1 first"),
    "shown": ("건", "found"),
    "more": ("더 보기", "Show more"),
    "none_found": ("조건에 맞는 질문이 없습니다.", "No question matches."),
    "gold": ("정답", "Reference"),
    "prediction": ("예측", "Prediction"),
    "second_prediction": ("둘째 예측", "Second prediction"),
    "empty": ("(없음)", "(none)"),
    "full_text": ("지문 전체", "Full text"),
    "other_mark": (", 둘째 예측 테두리", ", second prediction outlined"),
    "marks": ("정답 밑줄, 예측 바탕색", "reference underlined, prediction shaded"),
    "numbers": ("표로 보기", "As a table"),
    "count": ("질문", "Questions"),
    "slice": ("구분", "Slice"),
    "made_by": ("KoMRC {version}이(가) 만들었습니다.", "Made by KoMRC {version}."),
    # outcomes
    "right": ("맞음", "Right"),
    "right_plus_suffix": ("정답 + 꼬리 (조사 등)", "Right plus suffix"),
    "right_minus": ("정답의 일부", "Right minus something"),
    "overlapping": ("정답과 겹침", "Overlapping"),
    "elsewhere": ("다른 곳", "Elsewhere"),
    "no_answer": ("답 없음", "No answer"),
    "answered_unanswerable": ("답이 없는 질문에 답함", "Answered the unanswerable"),
    # groups and their slices
    "particle": ("정답 뒤의 조사", "Particle after the answer"),
    "particle.attached": ("붙음", "attached"),
    "particle.free": ("없음", "none"),
    "answer_length": ("정답 길이 (글자)", "Answer length (characters)"),
    "number": ("숫자와 단위", "Digits and units"),
    "number.none": ("숫자 없음", "no digits"),
    "number.digits": ("숫자만", "digits alone"),
    "number.digits_and_unit": ("숫자와 단위·글자", "digits with unit or words"),
    "hanja": ("정답 속 한자", "Hanja in the answer"),
    "latin": ("정답 속 로마자", "Latin letters in the answer"),
    "hanja.no": ("없음", "no"),
    "hanja.yes": ("있음", "yes"),
    "latin.no": ("없음", "no"),
    "latin.yes": ("있음", "yes"),
    "quotes": ("따옴표", "Quotes"),
    "quotes.none": ("없음", "none"),
    "quotes.around": ("정답을 둘러쌈", "around the answer"),
    "quotes.inside": ("정답 속", "inside the answer"),
    "question_word": ("의문사", "Question word"),
    "question_word.who": ("누구", "누구 (who)"),
    "question_word.how_many": ("몇·얼마", "몇 (how many)"),
    "question_word.when": ("언제", "언제 (when)"),
    "question_word.where": ("어디", "어디 (where)"),
    "question_word.why": ("왜", "왜 (why)"),
    "question_word.how": ("어떻게", "어떻게 (how)"),
    "question_word.what": ("무엇", "무엇 (what)"),
    "question_word.which": ("어떤·어느", "어떤 (which)"),
    "question_word.other": ("그 밖", "other"),
    "paragraph_length": ("지문 길이 (글자)", "Paragraph length (characters)"),
    "position": ("지문 속 정답 위치", "Answer's place in the paragraph"),
    "position.q1": ("첫 1/4", "first quarter"),
    "position.q2": ("둘째 1/4", "second quarter"),
    "position.q3": ("셋째 1/4", "third quarter"),
    "position.q4": ("끝 1/4", "last quarter"),
    "tokens": ("낱말 조각 경계로 닿는 정답", "Reachable by token boundaries"),
    "tokens.reachable": ("닿음", "reachable"),
    "tokens.unreachable": ("닿지 않음", "not reachable"),
    "windows": ("지문 창과 정답", "Windows and the answer"),
    "windows.one": ("창 하나", "one window"),
    "windows.whole": ("여러 창, 정답 온전함", "several, answer whole"),
    "windows.cut": ("여러 창, 정답 잘림", "several, answer cut"),
}


def say(key: str, language: Language) -> str:
    """The text of a key."""
    return _TEXTS[key][LANGUAGES.index(language)]


def slice_label(group: str, name: str, language: Language) -> str:
    """What a slice is called: its own text where it has one, else its name (such as ``4-6``)."""
    key = f"{group}.{name}"
    return say(key, language) if key in _TEXTS else name.replace("<=", "≤ ").replace(">", "> ")
