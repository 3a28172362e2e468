"""Words, numbers and near misses that the pairs are made of."""

from __future__ import annotations

import random

WORDS = [
    "the",
    "a",
    "an",
    "one",
    "two",
    "ten",
    "none",
    "dog",
    "Dog's",
    "cat",
    "tennis",
    "racket",
    "red",
    "blue",
    "New",
    "York",
    "café",
    "Straße",
    "İstanbul",
    "naïve",
    "日本",
    "ＡＢＣ",
    "１２",
    "it's",
    "don't",
    "wont",
    "oclock",
    "yall",
    "U.S.A.",
    "Mr.",
    "well-known",
    "3/4",
    "10:30",
    "$5.00",
    "2.5",
    "1,000",
    "1000",
    "42",
    "50%",
    "7",
    "ten-year-old",
    "isnt",
    "youre",
    "7.5",
    "and",
    "of",
    "left/right",
    "(b)",
    '"stop"',
    "x@y",
    "a_b",
    "<b>",
    "[1]",
    "{c}",
    "`q`",
    "semi;colon",
    "e=mc2",
    "1+1",
    "back\\slash",
    "not",
    "no",
    "yes",
    "2004",
    "-3",
    "0",
    "0.5",
    "mm",
    "cm",
]
LETTERS = "ABCDEFGH"


def text(rng: random.Random, most: int = 4) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))


def near(rng: random.Random, answer: str) -> str:
    """Something that is, or nearly is, or is not at all, the answer."""
    place = rng.randrange(len(answer) + 1)
    return rng.choice(
        [
            *[lambda: answer] * 6,
            lambda: answer.upper(),
            lambda: answer.lower(),
            lambda: f" {answer} ",
            lambda: answer + ".",
            lambda: answer + rng.choice(["\n", "\t", "  ", ", ok", " ?", "!", " .", "...", ";", "."]),
            lambda: answer.replace(" ", "  "),
            lambda: answer.replace(" ", ""),
            lambda: answer.replace(" ", "\n"),
            lambda: answer[:place] + answer[place + 1 :],
            lambda: answer[:place] + rng.choice("aX .,-'é１") + answer[place:],
            lambda: rng.choice(["the ", "a ", "It is ", "The answer is ", "(", "\n"]) + answer,
            lambda: answer + " " + text(rng, 2),
            lambda: text(rng),
            lambda: "",
            lambda: "".join(rng.choices("aA1.%,?! \n\té😀\u200b()[]'\"yesno-/", k=rng.randrange(12))),
        ]
    )()


def number(rng: random.Random) -> str:
    value = rng.choice(
        [rng.randint(-200, 3000), round(rng.uniform(-5, 200), rng.randint(1, 3)), rng.choice([0, 100, 2010])]
    )
    return rng.choice(["{}", "{}", "{}", "{}%", "{:,}", "{:.2f}", "+{}", " {}"]).format(value)
