"""Sources of the longer recipe: intents in scored pairs, and questions out of prompts."""

import json
import random
from pathlib import Path

import prompted
import pytest
from embedding import brief
from generating import long_cached, long_prompt, quoted_cached, several_cached
from intents import intents
from material import Inputs
from more_readings import around, more_readings

from gritlite.prompt import cached_question
from tests.recipes.samples import PROSE, make_data, make_packages


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(make_data(tmp_path / "data"), make_packages(tmp_path / "packages"))


def last(text: object) -> object:
    """A text without its instruction."""
    return text[-1] if isinstance(text, list) else text


def test_a_request_has_a_pair_of_its_intent_and_one_of_another(inputs: Inputs) -> None:
    lines = inputs.train("hwu64_intents.tsv").read_text().splitlines()
    intent = dict(line.split("\t") for line in lines)
    rows = list(intents(inputs, random.Random(1)))
    assert {row["score"] for row in rows} == {0.0, 1.0}
    for row in rows:
        query, other = last(row["query"]), last(row["pos"][0])
        assert query != other
        assert (intent[query] == intent[other]) == (row["score"] == 1.0)


def test_short_texts_come_from_the_web_from_requests_and_from_questions_on_health(
    inputs: Inputs,
) -> None:
    texts = {row["query"] for row in brief(inputs, random.Random(1))}
    assert {"Where is the mill?", "close it", "What is Corn?"} <= texts


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        (
            "adversarial_qa_dbert_based_on",
            "Extract the answer to the question from the following context.\n"
            "Question: Who ran?\nContext: Tom ran home.",
        ),
        (
            "adversarial_qa_dbidaf_question_context_answer",
            'Question: "Who ran?"\n\nContext: "Tom ran home."\n\nAnswer:\n',
        ),
        (
            "adversarial_qa_droberta_answer_the_following_q",
            'Given the following passage\n\n"Tom ran home.",\n\nanswer the following question. '
            "Note that the answer is present within the text.\n\nQuestion: Who ran?\n",
        ),
        (
            "quoref_Answer_Question_Given_Context",
            "Given the following context:\n\nTom ran home.\n\nanswer the following question:\n\n"
            "Who ran?",
        ),
        (
            "quoref_What_Is_The_Answer",
            "What is the answer for the question: Who ran? from the following article ?\n\n"
            "Tom ran home.",
        ),
        (
            "quoref_Read_And_Extract_",
            "Read the following paragraph and extract the answer for the question: Who ran?\n\n"
            "Tom ran home.",
        ),
        ("ropes_plain_background_situation", "Tom ran home.\n\nWho ran?"),
        (
            "duorc_SelfRC_question_answering",
            'Question: Who ran?\nIf there is no answer, please output "None".\n'
            "Movie title: Home\nContext: Tom ran home.",
        ),
        (
            "wiki_hop_original_generate_object",
            "Information:\n\n- Tom ran home.\n\n"
            "What entity does 'tom' has the relation 'who' with?",
        ),
    ],
)
def test_parts_of_a_prompt(inputs: Inputs, template: str, prompt: str) -> None:
    row = {"template": template, "prompt": prompt, "completion": "Tom<|endoftext|>"}
    inputs.train("t0_qa.jsonl").write_text(f"{json.dumps(row)}\n" * 2)
    ((passage, question, answer),) = prompted.readings(inputs)
    assert (passage.strip(), answer) == ("Tom ran home.", "Tom")
    assert question == ("Who of tom: what?" if "wiki_hop" in template else "Who ran?")


def test_other_templates_give_nothing(inputs: Inputs) -> None:
    row = {"template": "paws_labeled_final_Rewrite", "prompt": "Who?", "completion": "Yes"}
    inputs.train("t0_qa.jsonl").write_text(json.dumps(row))
    assert list(prompted.readings(inputs)) == []


def test_an_answer_stands_in_its_passage(inputs: Inputs) -> None:
    made = list(more_readings(inputs, random.Random(1)))
    assert {"1932", "1955", "Tom", "Ann"} <= {answer for _, _, answer in made}
    for passage, _question, answer in made:
        assert answer in passage
        assert "Ann" not in passage or "Ann (a cook) sat." in passage


def test_a_part_around_an_answer() -> None:
    for seed in range(20):
        part = around(PROSE * 5, "1932", 40, random.Random(seed))
        assert "1932" in part
        assert len(part.split()) <= 40
    assert around(PROSE, "1933", 40, random.Random(1)) == ""


@pytest.mark.parametrize("seed", range(8))
def test_a_long_document_is_several_passages_in_one_text(inputs: Inputs, seed: int) -> None:
    apart = next(several_cached(inputs, random.Random(seed)))
    row = next(long_cached(inputs, random.Random(seed)))
    assert row["document"] in [between.join(apart["document"]) for between in (" ", "\n", "\n\n")]
    assert (row["query"], row["answer"]) == (apart["query"], apart["answer"])


def test_a_long_prompt_is_such_a_document_and_its_question(inputs: Inputs) -> None:
    documents = list(long_cached(inputs, random.Random(1)))
    prompts = list(long_prompt(inputs, random.Random(1)))
    for row, document in zip(prompts, documents, strict=True):
        asked = cached_question(document["query"])
        assert row["text"] == [f"{document['document']}\n\n{asked}", document["answer"]]


def test_a_quotation_follows_the_words_that_are_asked_about(inputs: Inputs) -> None:
    rows = list(quoted_cached(inputs, random.Random(1)))
    whole = [row for row in rows if row["document"].startswith(row["answer"][:40])]
    assert 0 < len(whole) < len(rows) / 2
    for row in rows:
        document = " ".join(row["document"].split())
        before = document[: document.index(row["answer"])].split()
        assert len(row["answer"].split()) >= 30
        assert " ".join(before[-5:]) in row["query"]
