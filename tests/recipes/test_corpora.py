"""Each reader on a file of its form, made by hand."""

import gzip
import json
from pathlib import Path

import corpora
import pytest


def _write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def test_sts(tmp_path: Path) -> None:
    line = 'main-captions\tMSRvid\t2012test\t0001\t3.800\tA "man" eats.\tHe eats.\textra\n'
    path = _write(tmp_path / "sts.tsv", line)
    assert list(corpora.sts(path)) == [('A "man" eats.', "He eats.", 0.76)]


def test_mrpc(tmp_path: Path) -> None:
    text = 'Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tHe said "yes".\tHe agreed.\n'
    path = _write(tmp_path / "mrpc.tsv", text + "0\t7\t8\ta\tb\n", "utf-8-sig")
    assert list(corpora.mrpc(path)) == [('He said "yes".', "He agreed.", True), ("a", "b", False)]


def test_disfl_qa(tmp_path: Path) -> None:
    row = {"original": "Who is it?", "disfluent": "What no who is it?"}
    path = _write(tmp_path / "disfl.json", json.dumps({"id": row}))
    assert list(corpora.disfl_qa(path)) == [("Who is it?", "What no who is it?")]


def test_alpaca(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Shorten.", "input": "A long text.", "output": "Text.\n"},
        {"instruction": "Greet.", "input": "", "output": "Hello!"},
    ]
    path = _write(tmp_path / "alpaca.json", json.dumps(rows))
    assert list(corpora.alpaca(path)) == [
        ("Shorten.\n\nA long text.", "Text."),
        ("Greet.", "Hello!"),
    ]


def test_gsm8k(tmp_path: Path) -> None:
    row = {"question": "2 and 2?", "answer": "2+2=<<2+2=4>>4 in all.\n#### 4"}
    path = _write(tmp_path / "gsm8k.jsonl", json.dumps(row) + "\n")
    assert list(corpora.gsm8k(path)) == [("2 and 2?", "2+2=4 in all.\nThe answer is 4.")]


def test_multirc(tmp_path: Path) -> None:
    text = "Paragraph- Sent 1: It rains.Sent 2: \\tabWe stay. Sent 3: All day. "
    task = {"Definition": "Ask.", "Instances": [{"input": text, "output": ["Who stays?"]}]}
    path = _write(tmp_path / "task.json", json.dumps(task))
    assert list(corpora.multirc(path)) == [("It rains. We stay. All day.", ["Who stays?"])]


def test_labelled_parts() -> None:
    text = "Fact: Water is\nwet. \nQuestion: What is water?"
    assert corpora.labelled(text, "Fact", "Question") == ("Water is wet.", "What is water?")
    assert corpora.labelled(text, "Context", "Question") is None


def test_boolq_parts_are_told_apart(tmp_path: Path) -> None:
    rows = [
        {"question": "is it wet", "passage": "Water -- Water is ``wet''. -- So.", "label": True},
        {"question": "is it hot", "passage": "Fire -- Fire is hot."},
    ]
    _write(tmp_path / "combined.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    dev = {"question": "is it cold", "passage": "Ice is cold.", "title": "Ice", "answer": "True"}
    _write(tmp_path / "dev.jsonl", json.dumps(dev) + "\n")
    assert list(corpora.boolq(tmp_path)) == [("is it wet?", 'Water is "wet". -- So.', True)]
    assert list(corpora.boolq_held_out(tmp_path)) == [
        ("is it cold", "Ice is cold."),
        ("is it hot", "Fire is hot."),
    ]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("I ca n't pay $ 10 .", "I can't pay $10."),
        ("Earth ' s O2 ( see below ) , too", "Earth's O2 (see below), too"),
        ("over 1 , 000 high - end shops", "over 1,000 high-end shops"),
        ('she said " yes " and left', 'she said "yes" and left'),
        ("plain text stays, as it is.", "plain text stays, as it is."),
    ],
)
def test_tokens_are_joined_as_people_write(tokens: str, text: str) -> None:
    assert corpora.untokenised(tokens) == text


def test_wordnet(tmp_path: Path) -> None:
    licence = "  1 This software is provided by Princeton  \n"
    noun = (
        "00006024 03 n 02 heterotroph 0 big_eater 0 001 @ 00004475 n 0000 "
        '| an organism; depends on others; "animals are"  \n'
    )
    for part in ("verb", "adv"):
        _write(tmp_path / f"data.{part}", licence)
    _write(tmp_path / "data.noun", licence + noun)
    adjective = '00001740 00 a 01 able(p) 0 000 | having the means: "able to swim"  \n'
    _write(tmp_path / "data.adj", licence + adjective)
    assert list(corpora.wordnet(tmp_path)) == [
        (["heterotroph", "big eater"], "an organism; depends on others"),
        (["able"], "having the means"),
    ]


def test_foldoc(tmp_path: Path) -> None:
    text = (
        "00-database-short\n\n     The dictionary\n\n"
        "56 kbps\n\n   <communications> (56 kilobits per second) The data capacity of\n"
        "   a {digital} channel.\n\n   More.\n\n   (1998-09-15)\n\n"
        "actor\n\n   1. <programming> An {object} that acts.\n\n   2. A person.\n"
    )
    path = tmp_path / "foldoc.dict.dz"
    path.write_bytes(gzip.compress(text.encode()))
    assert list(corpora.foldoc(path)) == [
        ("56 kbps", "The data capacity of a digital channel."),
        ("actor", "An object that acts."),
    ]


def test_debian(tmp_path: Path) -> None:
    text = (
        "Package: 0ad\nDescription-md5: d94\nDescription-en: Game of  war\n A game\n of war.\n .\n"
        " It has data.\n\nPackage: 2048\nDescription-md5: 2d3\nDescription-en: Puzzle\n Slide.\n\n"
    )
    path = _write(tmp_path / "descriptions.txt", text)
    assert list(corpora.debian(path)) == [
        ("0ad", "Game of war", "A game of war."),
        ("2048", "Puzzle", "Slide."),
    ]


def test_brown(tmp_path: Path) -> None:
    text = (
        "\n\n\tThe/at jury/nn said/vbd ,/, ``/`` considering/in it/ppo ''/'' ./.\n"
        "It/pps was/bedz ./.\n\n\n\tWhy/wrb ?/. ?/.\n\n"
    )
    _write(tmp_path / "ca01", text)
    _write(tmp_path / "cats.txt", "ca01 news")
    assert list(corpora.brown(tmp_path)) == ['The jury said, "considering it". It was.', "Why?"]


def test_wikipedia(tmp_path: Path) -> None:
    article = (
        "Albedo (; ) is the measure (Greek: ) of light.It is old.Early history The word was new. "
        "Many used it. It spread.CloudsCloud albedo matters. More is known.1990 saw more. "
        'So he said "it ended."Legacy Lincoln knew. The U.S. Senate did.'
    )
    path = _write(tmp_path / "wiki.txt", article + "\nA second article.\n")
    assert list(corpora.wikipedia(path)) == [
        [
            "Albedo is the measure of light.",
            "It is old.",
            "Many used it. It spread.",
            "More is known.",
            'So he said "it ended."',
            "Legacy Lincoln knew. The U.S. Senate did.",
        ],
        ["A second article."],
    ]
