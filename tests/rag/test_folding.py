"""What the full-text index makes of texts and queries."""

import pytest

from gritlite.rag.folding import folded, query_terms


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("CAFÉ Cafe\u0301", "cafe cafe"),
        ("Straße STRASSE ẞ", "strasse strasse ss"),
        ("İstanbul ISPARTA ısı", "istanbul isparta isi"),
        ("Ørsted Łódź œuvre", "orsted lodz oeuvre"),
        ("Ёлка Αθήνα", "елка αθηνα"),
        ("ＦＵＬＬ ﬁne m²", "full fine m2"),
        ("مُحَمَّد שָׁלוֹם", "محمد שלום"),
        ("हिन्दी भाषा", "हिन्दी भाषा"),  # vowels that are marks stay
        ("東京都。", "東京 京都 都"),
        ("ｶﾞｲﾄﾞ ガ・カ", "ガイ イド ド ガ カ"),  # dakuten make other letters; half width is full
        ("iPhone用ケース2024年", "iphone 用ケ ケー ース ス 2024 年"),
        ("ที่นี่", "ที่นี่ นี่"),  # a consonant with its vowels and tones is one character
        ("서울은", "서울 울은 은"),
        ("plain – “text”, 5 €", None),
        ("snake_case don't C++", None),
        ("", None),
    ],
)
def test_texts(text, wanted):
    assert folded(text) == wanted


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("Who, who? café", ['"who"', '"cafe"']),
        ("東京都", ['"東京"', '"京都"']),
        ("猫", ['"猫" *']),
        ('"a OR b*"', ['"a"', '"or"', '"b"']),
        ("?!", []),
    ],
)
def test_queries(query, wanted):
    assert query_terms(query) == wanted
