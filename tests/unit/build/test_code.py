import re
from collections import Counter

from mm15.build.code import make
from mm15.build.materials import Materials

MATERIALS = Materials()
ITEMS = [make(i, "train", 5, MATERIALS) for i in range(180)]
HTML = re.compile(r"<h1>([a-z]+)</h1>(?:<p(?: class=(?:red|green|blue))?>([a-z]+)</p>|<button>([a-z]+)</button>)")


def test_the_code_names_the_words_that_are_drawn():
    pages = [item for item in ITEMS if item.task == "html"]
    kinds = Counter()
    for item in pages:
        match = HTML.fullmatch(item.answer)
        assert match, item.answer
        assert "".join(box[0] for box in item.chars) == "".join(word for word in match.groups() if word)
        kinds["button" if "<button>" in item.answer else "class" if "class" in item.answer else "p"] += 1
        heading = [box for box in item.chars[: len(match[1])]]
        below = item.chars[len(match[1]) :]
        assert min(box[2] for box in below) >= max(box[2] for box in heading)
    assert len(pages) == 120 and set(kinds) == {"button", "class", "p"}


def test_charts_are_lists_of_small_numbers():
    charts = [item for item in ITEMS if item.task == "bars"]
    assert len(charts) == 60
    for item in charts:
        values = [int(value) for value in re.fullmatch(r"bars\(\[(.*)\]\)", item.answer)[1].split(", ")]
        assert 2 <= len(values) <= 5 and all(1 <= value <= 6 for value in values) and max(values) >= 4


def test_answers_are_short():
    assert max(len(item.answer) for item in ITEMS) <= 40
