"""Pairs of short answers: texts, numbers, options, yes or no."""

from __future__ import annotations

import random
from typing import Any

from pairs_words import LETTERS, near, number, text


def references(rng: random.Random) -> dict[str, Any]:
    references = [text(rng) for _ in range(rng.randint(1, 4))]
    return {"p": near(rng, rng.choice(references)), "r": references}


def anls(rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.15:  # exactly one half is where implementations part
        half = rng.randint(1, 6)
        same, first, second = ("".join(rng.choices(pool, k=half)) for pool in ("abé1", "xyz", "mnß"))
        return {"p": same + first, "r": [same + second]}
    return references(rng)


def relaxed(rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.3:
        return {"p": near(rng, answer := text(rng, 2)), "r": answer}
    answer = number(rng)
    if rng.random() < 0.5:
        return {"p": near(rng, answer), "r": answer}
    plain = float(answer.replace(",", "").replace("%", "").replace("+-", "-")) / (100 if "%" in answer else 1)
    moved = plain * rng.choice([1, 0.95, 1.05, 1.0501, 0.9499, 0.97, 1.03, 1.2, -1])
    return {"p": rng.choice([repr(moved), f"{moved:.2f}", f"{moved * 100:.1f}%", f"{moved:.0f}"]), "r": answer}


def vqa(rng: random.Random) -> dict[str, Any]:
    answer, other = text(rng, 2), text(rng, 2)
    agree = rng.choice([0, 1, 2, 3, 4, 8, 10, 10, 10])
    references = [answer if rng.random() < 0.8 or agree == 10 else near(rng, answer) for _ in range(agree)]
    references += [near(rng, other) for _ in range(10 - agree)]
    rng.shuffle(references)
    return {"p": near(rng, answer), "r": references}


def few_shot(rng: random.Random) -> dict[str, Any]:
    answer = text(rng, 3)
    tail = rng.choice(
        ["", "\n", " Question: what? Short", "Question:", " Answer: no", ". Next", ", and", " Short answer: x"]
    )
    return {"p": near(rng, answer) + tail, "r": answer}


def choice(rng: random.Random) -> dict[str, Any]:
    choices = [text(rng, 3) for _ in range(rng.randint(2, 5))]
    gold = rng.choice(LETTERS[: len(choices)])
    letter = gold if rng.random() < 0.75 else rng.choice(LETTERS)
    value = choices[LETTERS.index(letter)] if letter in LETTERS[: len(choices)] else "nothing"
    forms = [
        *(
            "{l}",
            "{l}",
            "{l}.",
            "({l})",
            "{l})",
            "{l}:",
            "{L}",
            "({L})",
            " {l} ",
            "{l}. {v}",
            "({l}) {v}",
            "{l}: {v}",
            "{l}, {v}",
        ),
        *("The answer is {l}", "The answer is ({l}).", "The correct answer is {l}. {v}", "Answer: {l}", "answer: {l}"),
        *("Final Answer: {l}", "Final answer: {v}", "{v}", "It must be {v}, I think, because of this", "A dog, so {l}"),
        *("I choose {l}.", "Because {l} is right", "Not {o}, but {l}", "({o}) or ({l})", "{o} and {l}", "{l} {o}"),
        *(
            "Option {l} seems best here among all of these",
            "{v} ({l})",
            "I think that option {o} is wrong. {l}",
            "**{l}**",
        ),
        *(
            "答案是{l}",
            "Choice {l}: {v}",
            "I",
            "",
            "?",
            "\n{l}\n{v}",
            "{l}\n\nBecause",
            "'{l}'",
            '"{l}"',
            "{l} ",
            "None Z",
            "Z",
        ),
        *(
            "This picture shows a dog and a cat, which means that {v} holds",
            "answers: ({l})",
            "ß",
            "ﬁ",
            "Answer: Answer: {l}",
        ),
        *(
            "Cannot determine the answer",
            "{l} is what I would pick if I had to say which it is",
            "the best option is {l}!",
        ),
    ]
    other = rng.choice(LETTERS[: len(choices)])
    answer = rng.choice(forms).format(l=letter, L=letter.lower(), v=value, o=other)
    return {"p": answer if rng.random() < 0.9 else near(rng, answer), "r": gold, "c": choices}


def short_choice(rng: random.Random) -> dict[str, Any]:
    """As ``choice``, but two answers in three are the letter as the strategies for terse answers want it."""
    item = choice(rng)
    if rng.random() < 0.65:
        form = rng.choice(["@", "@", "@.", " @", "@. " + item["c"][0], "@\n", "@.\nBecause"])
        item["p"] = form.replace("@", item["r"] if rng.random() < 0.8 else rng.choice(LETTERS))
    return item


def yes_no(rng: random.Random) -> dict[str, Any]:
    gold = rng.choice(["yes", "no"])
    said = gold if rng.random() < 0.7 else rng.choice(["yes", "no"])
    forms = [
        *(
            "{s}",
            "{S}",
            "{s}.",
            "{S}.",
            "{S}, it is",
            "{S}, there is a dog.",
            "{U}",
            " {s}\n",
            "Well. {S}",
            "{s}!",
            "({s})",
            "{y}",
        ),
        *(
            "There is not a dog.",
            "not",
            "know",
            "nothing",
            "I do not know.",
            "yes and no",
            "",
            "Yeah",
            "now",
            "noyes",
            "eyes",
        ),
        *(
            "It is. No, really.",
            "no,dog",
            "'{s}'",
            "{s}/maybe",
            "The answer is {s}",
            "Answer:{s}",
            "none",
            "yess",
            "N.o.",
            "1,0 {s}",
        ),
    ]
    answer = rng.choice(forms).format(s=said, S=said.capitalize(), U=said.upper(), y=said[0])
    return {"p": answer if rng.random() < 0.85 else near(rng, answer), "r": gold}


def terse_yes_no(rng: random.Random) -> dict[str, Any]:
    item = yes_no(rng)
    if rng.random() < 0.5:
        item["p"] = rng.choice(["{}", " {}", "{}\n", "{}."]).format(rng.choice([item["r"], item["r"].upper(), "yes"]))
    return item


def counts(rng: random.Random) -> list[list[str]]:
    return [[rng.choice(["yes", "no"]), rng.choice(["yes", "no"])] for _ in range(rng.choice([1, *range(8, 40)]))]


def mme_set(rng: random.Random) -> list[list[int]]:
    return [[int(rng.random() < 0.6), int(rng.random() < 0.6)] for _ in range(rng.randint(1, 6))]


def ocr(rng: random.Random) -> dict[str, Any]:
    answers = [text(rng, 3) for _ in range(rng.randint(1, 3))]
    answers = [
        rng.choice([answer, answer + "\n", answer.replace("A", "Ａ"), r"\frac { x } { 2 } = " + answer])
        for answer in answers
    ]
    said = near(rng, rng.choice(answers))
    return {"p": rng.choice(["{}", "The text says {} here", "{}\n", "it\nis {}"]).replace("{}", said), "r": answers}
