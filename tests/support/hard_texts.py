"""Texts that tokenizers and normalizers get wrong: every script, mark, space and form of Hangul."""

from __future__ import annotations

from hypothesis import strategies as st

HARD_WORDS = """
한국 1,234,567 5,000원 1,000, ▁1,2 2013년, 00:00:00 0.5% &#34; (㈜한국) ½컵 ㎏ ① ⅷ ＡＢＣ１２３ ﾊﾟｰﾄ … ― ～ ·
`` '' ''' `'` " “인용” ‘것’ 「책」 《포켓몬》 café naïve Ångström 漢字 日本語 テスト が 😀👍🏽 ㅎㅏㄴ ﾡﾢ
´ ¨ ¸ ˚ ［ＣＬＳ］ [ＵNK] 갃갅 뷁 م ع ไทย हिन्दी
"""
HARD_CHARACTERS = "e\u0301 \u1112\u1161\u11ab 각\u11a8 か\u3099 👨\u200d👩 ❤\ufe0f \U00011938 \x00 \x01 \x7f"
SPACES = (
    "\u00a0",
    "\u3000",
    "\u200b",
    "\u200e",
    "\ufeff",
    "\ufffd",
    "▁",
    "\x1c",
    "\x1f",
    "\x85",
    "\u2028",
    "\t",
    "\r\n",
)
WORDS = st.sampled_from([*HARD_WORDS.split(), *HARD_CHARACTERS.split(" "), *SPACES])
CHARACTERS = st.one_of(
    st.characters(codec="utf-8"),
    st.characters(codec="utf-8", min_codepoint=0xAC00, max_codepoint=0xD7A3),
    st.characters(codec="utf-8", min_codepoint=0x1100, max_codepoint=0x11FF),
    st.characters(codec="utf-8", min_codepoint=0x300, max_codepoint=0x36F),
    st.characters(codec="utf-8", min_codepoint=0xFF00, max_codepoint=0xFFEF),
    st.sampled_from("0123456789,.`'\" \t가나다"),
)
TEXTS = st.one_of(
    st.lists(st.one_of(WORDS, st.just(" "), CHARACTERS), max_size=12).map("".join),
    st.text(CHARACTERS, max_size=30),
)
