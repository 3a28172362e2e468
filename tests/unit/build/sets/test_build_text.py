"""Text-only builders: answers can be found or worked out again, unreadable documents are named."""

import re

import pytest

from mm15.build._text_items import sentences_of
from mm15.build._verify import Refused, printed, value_of
from mm15.build.sets.text import joined
from sets_fixture import build, dropped, rows, samples
from sets_fixture import said as texts_of

STORY = """The harbour wakes before the sun. Fishermen carry nets down to their boats. Nobody speaks very loudly.

A bell rings from the lighthouse when fog rolls in. Captain Ines counts every lantern twice. Then she writes the number
into a little book.
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(6):
        changed = STORY.replace("lantern", f"lantern{'s' * number}").replace("harbour", f"harbour{'x' * number}")
        (folder / f"{number}.md").write_text(changed)
    (folder / "page.html").write_text(f"<h1>Head</h1><p>{' '.join(STORY.split())}</p>")
    return folder


def turns(row):
    return row["conversations"][0]["value"], row["conversations"][1]["value"]


def test_questions_about_passages_are_answered_by_the_passage(folder, tmp_path):
    build("text", tmp_path / "d", folder, n=70, formats=("llava",))
    seen = set()
    for row in rows(tmp_path / "d" / "passages.jsonl"):
        question, answer = turns(row)
        passage, _, asked = question.rpartition("\n\n")
        seen.add(row["task"])
        words = re.findall("[A-Za-z]+", passage)
        if row["task"] == "missing_word":
            assert passage.count("____") == 1 and answer in asked and answer not in words
            assert len(re.split(", | or ", asked.split(": ")[1])) == 4
        elif row["task"] == "count_word":
            assert answer == str(words.count(asked.split('"')[1]))
        elif row["task"] in ("sentence_with", "next_sentence"):
            assert answer in passage and answer[-1] in ".!?"
            if row["task"] == "next_sentence":
                assert f"{asked.split(chr(34))[1]} {answer}" in passage
        elif row["task"] == "last_word":
            place = ("first", "second", "third", "fourth", "fifth").index(asked.split()[-2])
            assert sentences_of(passage)[place].endswith(f"{answer}.")
        elif row["task"] == "sort_words":
            given = question.split(": ")[1].rstrip(".").split(", ")
            assert answer == ", ".join(sorted(given, key=str.lower))
        else:
            assert answer == str(passage.count("."))
    assert len(seen) == 7


def test_sums_and_programs_are_right_and_no_question_is_on_both_sides(tmp_path):
    build("text", tmp_path / "d", n=150, heldout=0.2, formats=("llava",))
    sides = []
    for side in ("", "heldout"):
        asked = []
        for row in rows(tmp_path / "d" / side / "arithmetic.jsonl"):
            question, answer = turns(row)
            asked.append(question)
            if match := re.fullmatch(r"What is ([\d +*()-]+)\?", question):
                assert eval(match[1]) == int(answer)
            elif match := re.fullmatch(r"What is (\d+)% of (\d+)\?", question):
                assert int(match[1]) * int(match[2]) == 100 * int(answer)
        for row in rows(tmp_path / "d" / side / "code-text.jsonl"):
            question, answer = turns(row)
            asked.append(question)
            program = question.split("```python\n")[1].removesuffix("\n```")
            lines = []
            exec(program, {"print": lambda *told, lines=lines: lines.append(" ".join(map(str, told)))})
            assert "\n".join(lines) == answer == printed(program)
        asked += [turns(row)[0] for row in rows(tmp_path / "d" / side / "science.jsonl")]
        assert len(set(asked)) == len(asked) > 20
        sides.append(set(asked))
    assert not sides[0] & sides[1]


def test_plain_text_is_the_documents(folder, tmp_path):
    build("text", tmp_path / "d", folder, n=50, formats=("text",))
    read = samples(tmp_path / "d")["plain"]
    assert len(read) == 7
    for sample in read:
        (text,) = texts_of(sample)
        assert len(text) <= 2000 and "The harbour" in text and text.endswith("a little book.")
    assert {row["document"] for row in rows(tmp_path / "d" / "plain.jsonl")} >= {"0.md", "page.html"}


def test_unreadable_and_repeated_text_is_named(folder, tmp_path):
    (folder / "latin.txt").write_bytes(
        "Größe und Gewicht eines Stücks, in langen Sätzen beschrieben.".encode("latin-1") * 2
    )
    (folder / "short.txt").write_text("Too short.")
    (folder / "cut.pdf").write_bytes(b"%PDF-1.4\n")
    (folder / "twice.txt").write_text(
        STORY.split("\n\n")[0] + "\n\nAnd a new paragraph that nobody has ever seen before in this place."
    )
    build("text", tmp_path / "d", folder, n=50, formats=("text",))
    assert dropped(tmp_path / "d") == {
        "not UTF-8 text": [str(folder / "latin.txt")],
        "no paragraph of 60 characters or more": [str(folder / "short.txt")],
        "not a readable PDF": [str(folder / "cut.pdf")],
        "a paragraph that stands elsewhere too": ["twice.txt"],
    }


def test_long_paragraphs_are_cut_at_sentences():
    parts = joined(["One two three. Four five six. Seven eight nine.", "Ten."], 32)
    assert parts == ["One two three. Four five six.", "Seven eight nine.\n\nTen."]
    assert joined(["a" * 50], 20) == ["a" * 20, "a" * 20, "a" * 10]


def test_sentences_are_only_told_apart_where_that_is_plain():
    assert sentences_of("It rains. We stay! Do you?") == ["It rains.", "We stay!", "Do you?"]
    for doubtful in (
        "Use tools, e.g. Hammers. Then rest.",
        "See Dr. Who. He left.",
        "One. One.",
        "A list: b\nC.",
        "No end",
    ):
        assert sentences_of(doubtful) == []


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 3 * 4", 14),
        ("(7 - 9) // 2", -1),
        ("[1, 2, 3][::-1]", [3, 2, 1]),
        ("'ab' * 3", "ababab"),
        ("3 in [1, 3]", True),
        ("1 < 2 <= 2", True),
        ("not 1 > 2 and 'a' < 'b'", True),
        ("sum(sorted([3, 1])[:1])", 1),
        ("'x y'.split()[1].upper()", "Y"),
    ],
)
def test_expressions_are_worked_out(expression, value):
    assert value_of(expression) == value == eval(expression)


@pytest.mark.parametrize(
    "program",
    [
        "import os",
        "print(__import__('os'))",
        "print(open('/etc/passwd'))",
        "print((1).__class__)",
        "print('a'.format(1))",
        "x = lambda: 1",
        "print([y for y in range(3)])",
        "def f(): pass",
        "while True: pass",
        "print(9 ** 9)",
        "print('a' * 10 ** 9)",
        "print('a' * 999999)",
        "print(range(10000000))",
        "for a in range(9000):\n    for b in range(9000):\n        c = a",
        "print(1 // 0)",
        "print(missing)",
        "print(",
        "x = 999999999 * 999999999 * 999999999",
        "a[0] = 1",
    ],
)
def test_everything_else_is_refused(program):
    with pytest.raises(Refused):
        printed(program)


def test_programs_are_worked_out():
    loop = "n = 0\nfor k in range(5):\n    if k % 2 == 0:\n        n += k\n    else:\n        n -= 1\n"
    program = f"{loop}print(n, 'ok')\nprint([n])"
    assert printed(program) == "4 ok\n[4]"
