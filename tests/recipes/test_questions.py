"""Questions made from statements."""

import pytest
from questions import ask


@pytest.mark.parametrize(
    ("statement", "question", "answer"),
    [
        ("Rampage was released on April 13, 2018.", "When was Rampage released?", "April 13, 2018"),
        ("Prabhakar died in 1988.", "When did Prabhakar die?", "1988"),
        (
            "Labyrinth is a 1986 fantasy film directed by Jim Henson, with puppets.",
            "Who directed Labyrinth?",
            "Jim Henson",
        ),
        (
            "The Mill Museum is located in Old Town, near the river.",
            "Where is The Mill Museum located?",
            "Old Town",
        ),
        (
            "Topanga has a population of 8,289 people.",
            "What is the population of Topanga?",
            "8,289",
        ),
        (
            "The stadium was designed by the architect Myron Hunt in 1921.",
            "The stadium was designed by the architect Myron Hunt in what year?",
            "1921",
        ),
        (
            "The chain now runs about 80 shops.",
            "The chain now runs about how many shops?",
            "80",
        ),
    ],
)
def test_a_statement_is_asked_about(statement: str, question: str, answer: str) -> None:
    assert list(ask(statement)) == [(question, answer)]
    assert answer in statement


@pytest.mark.parametrize(
    "statement",
    [
        "It was released in 2018.",  # what was?
        "He died in 1988.",
        "When the bridge was closed in 1932, traffic stopped.",
        "Nothing is asked about this.",
        "The film, which lasts two hours, is good.",
    ],
)
def test_a_statement_is_not_asked_about_that_cannot_stand_alone(statement: str) -> None:
    assert list(ask(statement)) == []
