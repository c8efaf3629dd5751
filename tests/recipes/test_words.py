"""Sentences, cuts, and what is prose."""

import pytest
from words import cut, is_clean, is_english, sentences, squeeze, wikitext_style, words


def test_words_are_compared_without_case_accents_and_punctuation() -> None:
    assert words("Édith's 1,000 Songs!") == ["edith", "s", "1", "000", "songs"]


def test_sentences_end_where_people_end_them() -> None:
    text = 'Dr. Smith met J. Doe in the U.S. Senate.  "Really?" he asked. It was 3.5 km away!\nYes.'
    assert sentences(text) == [
        "Dr. Smith met J. Doe in the U.S. Senate.",
        '"Really?" he asked.',
        "It was 3.5 km away!",
        "Yes.",
    ]


@pytest.mark.parametrize("text", ["", "One.", "One two. Three four? Five!", "no end"])
def test_sentences_lose_nothing(text: str) -> None:
    assert " ".join(sentences(text)) == squeeze(text)


def test_a_cut_keeps_whole_sentences() -> None:
    text = "One two three. Four five. Six."
    assert cut(text, 5) == "One two three. Four five."
    assert cut(text, 4) == "One two three."
    assert cut(text, 2) == ""


def test_english_is_told_from_other_languages() -> None:
    assert is_english("It is one of the things that people say to each other in the street.")
    assert not is_english("Olemme kumppanoituneet alan parhaiden ratkaisuiden valmistajien kanssa.")
    assert not is_english("Это один из тех вопросов, которые задают на улице.")
    assert not is_english("")


def test_prose_is_told_from_menus_and_addresses() -> None:
    assert is_clean("He paid $5, or 10%, for it (so they say).")
    assert not is_clean("Write to someone@example.org for more.")
    assert not is_clean("Home | About | Contact | Shop > Shoes > Red")
    assert not is_clean("CLICK HERE NOW")
    assert not is_clean("0171 555 1234, 0171 555 1235")


def test_wikitext_style_is_that_of_wikitext() -> None:
    """The right side is spelled as in the test set's first articles."""
    plain = (
        "It's a two-part \"story\" of 1,200 lines (3.5 each), by D. Smith. He 'd read it; we too!"
    )
    assert wikitext_style(plain) == (
        ' It \'s a two @-@ part " story " of 1 @,@ 200 lines ( 3 @.@ 5 each ) , by D. Smith . '
        "He 'd read it ; we too ! "
    )
