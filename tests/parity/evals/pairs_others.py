"""Pairs of open answers, boxes, tables and judges' replies."""

from __future__ import annotations

import random
from typing import Any

from pairs_words import LETTERS, near, number, text


def open(rng: random.Random) -> dict[str, Any]:
    answer = rng.choice(
        [number(rng), number(rng).strip(), text(rng, 2), rng.choice("abcXYZ7"), "24/7", "8.3", "Adams", "1e3"]
    )
    said = near(rng, answer)
    forms = [
        "{}",
        "The answer is {}",
        "So it is {}.",
        "x = {}",
        "First this.\nThus {} is it\nfinal answer {}",
        "{} units",
        "is",
        "nan",
    ]
    return {"p": rng.choice(forms).replace("{}", said), "r": answer if rng.random() < 0.8 else [answer, text(rng, 1)]}


def mathvista(rng: random.Random) -> dict[str, Any]:
    kind = rng.choice(["choice", "integer", "float", "text", "list"])
    choices = [text(rng, 2) for _ in range(rng.randint(2, 5))] if kind == "choice" else []
    if kind == "choice":
        gold = rng.choice(choices)
        letter = LETTERS[choices.index(gold)]
        answer = rng.choice(
            [
                gold,
                gold,
                f"({letter})",
                letter,
                f"({letter}) {gold}",
                near(rng, gold),
                f'The answer is "{gold}".',
                "",
                letter.lower(),
            ]
        )
    else:
        value = rng.choice([rng.randint(-20, 300), round(rng.uniform(-5, 99), 2)])
        gold = (
            str(int(value))
            if kind == "integer"
            else f"{round(float(value), 1)}"
            if kind == "float"
            else f"[{value}, 2]"
        )
        answer = rng.choice(
            [gold, gold, f"{value}", f"{float(value)}", f'The answer is "{gold}".', near(rng, gold), "inf", "", "nan"]
        )
    precision = rng.choice([1, 1, 1, 2, 1.0]) if kind == "float" else None
    answer_type = "text" if kind == "choice" else kind
    return {
        **{"p": answer.strip(), "r": gold, "c": choices, "precision": precision, "answer_type": answer_type},
        "question_type": "multi_choice" if kind == "choice" else "free_form",
    }


def boxes(rng: random.Random) -> list[list[float]]:
    x1, y1, w, h = (rng.uniform(0, 50), rng.uniform(0, 50), rng.uniform(1, 50), rng.uniform(1, 50))
    first = [x1, y1, x1 + w, y1 + h]
    moved = [value + rng.uniform(-12, 12) * (rng.random() < 0.6) for value in first]
    second = rng.choice(
        [moved, first, [x1, y1, x1 + w, y1 + h / 2], [x1 + w, y1, x1 + 2 * w, y1 + h], [0.0, 0.0, 0.0, 0.0]]
    )
    second = [
        min(second[0], second[2]),
        min(second[1], second[3]),
        max(second[0], second[2]),
        max(second[1], second[3]),
    ]
    return [[round(value, rng.choice([0, 2])) for value in box] for box in (second, first)]


def merged(rng: random.Random) -> dict[str, Any]:
    wanted = [boxes(rng)[1] for _ in range(rng.randint(1, 3))]
    around = [f(box[i] for box in wanted) for i, f in enumerate((min, min, max, max))]
    return {"p": [value + rng.uniform(-9, 9) * (rng.random() < 0.7) for value in around], "r": wanted}


def phrases(rng: random.Random) -> list[str]:
    phrase = text(rng, 4)
    return [near(rng, phrase), phrase]


def lvis(rng: random.Random) -> dict[str, Any]:
    names = [
        rng.choice(["cart", "car", "notebook", "bow_tie", "cat", "nut", "no_sign", "polar_bear"]) for _ in range(2)
    ]
    synonyms = rng.sample(["bow_(weapon)", "auto", "kitty", "tie", "motor_car", "Cat", "note"], k=rng.randint(0, 3))
    said = rng.choice([*names, *synonyms]).replace("_", " ")
    forms = [
        "It is a {}.",
        "{}",
        "The object is a {}, not a car.",
        "It is not a {}, but a cat.",
        "no {}.",
        "a notebook, or a {}",
    ]
    forms += [
        "a {} or a cat",
        "It is nothing like a {}.",
        "{S}",
        "It's a {}, no cat, no dog.",
        "neither",
        "a {} not here",
    ]
    answer = rng.choice(forms).replace("{S}", said.capitalize()).replace("{}", said)
    return {"p": answer if rng.random() < 0.9 else near(rng, answer), "name": names[0], "synonyms": synonyms}


def wtq(rng: random.Random) -> dict[str, Any]:
    def value() -> str:
        pool = [
            text(rng, 2),
            number(rng).strip(),
            f"{rng.randint(1990, 2012)}-{rng.choice(['1', '01', 'xx', '13'])}-{rng.choice(['01', 'xx', '5'])}",
        ]
        pool += [
            "Italy (ITA)",
            '"José"',
            "3–2",
            "a[1]",
            "Paris†",
            "x.",
            "5.0000001",
            "2.9999999",
            "",
            "b\\pc",
            "Łódź",
            "1e3",
            "١٢",
            "a (b) (c)",
        ]
        return rng.choice(["nan", "-inf"]) if rng.random() < 0.01 else rng.choice(pool)

    wanted = [value() for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    said = [near(rng, item) if rng.random() < 0.5 else item for item in wanted]
    rng.shuffle(said)
    joined = rng.choice(["|", "|", "||", ", "]).join(said)
    plain = {"José": "Jose", "3–2": "3-2", "Italy (ITA)": "Italy", "2.9999999": "3", "a[1]": "a"}
    return {"p": plain.get(joined, joined) if rng.random() < 0.5 else joined, "r": "|".join(wanted)}


def tabfact(rng: random.Random) -> dict[str, Any]:
    gold = rng.choice("01")
    said = ("False", "True")[int(gold)] if rng.random() < 0.7 else rng.choice(["True", "False"])
    answer = rng.choice(
        ["{}", "{}.", "It is {}", "{} or not", "true and false", "yes", "no", "", "Untrue", "{}\n"]
    ).replace("{}", said)
    return {"p": answer if rng.random() < 0.8 else near(rng, answer), "r": gold}


def f1(rng: random.Random) -> dict[str, Any]:
    answer = text(rng, 6)
    said = answer.split()
    rng.shuffle(said)
    return {"p": rng.choice([near(rng, answer), " ".join(said), " ".join(said[:2]), text(rng, 6)]), "r": answer}


def review(rng: random.Random) -> str:
    first, second = (rng.choice(["8", "9.5", "10", "7", "6", "7.5", "8", "9", "x", "0", "-1", "1e1"]) for _ in range(2))
    return (
        first
        + rng.choice([" ", " ", " ", " ", ",", ",", ", ", "  ", "/", "\t", "\n"])
        + second
        + rng.choice(["", "\nGood.", " ", "\n\n1 2", "\nIt is", " 3", "\r\nWell"])
    )


def verdict(rng: random.Random) -> str:
    score = rng.choice(["4", "2", "5", "3", "0", "1", "4.8", "'3'", '"3"', "None", "x", "[1]", "-1", "true"])
    word = rng.choice(["yes", "no", "yes", "Yes", "NO", "maybe", "yes, no", ""])
    forms = [
        "{'pred': '@', 'score': #}",
        '{"pred": "@", "score": #}',
        "Sure: {'pred': '@', 'score': #}.",
        "{'score': #, 'pred': '@'} {'pred': 'no', 'score': 0}",
    ]
    forms += [
        "{'score': #}",
        "{'pred': '@'}",
        "@ #",
        "",
        "{'pred': @, 'score': #}",
        "```{'pred': '@', 'score': #}```",
        "{{'pred': '@', 'score': #}}",
    ]
    return rng.choice([*forms[:4], *forms]).replace("@", word).replace("#", score)


def aspect(rng: random.Random) -> str:
    score = rng.choice(["4", "3", "5", "4.8", "'3'", "2", "0", "x", "-1", "None"])
    forms = [
        "{'score': #}",
        '{"score": #}',
        " {'score': #}\n",
        "{'score': #, 'why': 'x'}",
        "Score: #",
        "{'score': #",
        "[#]",
        "",
        "{}",
    ]
    return rng.choice([*forms[:4], *forms]).replace("#", score)


def mm_vet(rng: random.Random) -> str:
    return rng.choice(
        [
            "0.5",
            "1.0",
            "0",
            "1",
            " 0.7",
            "0.3 because",
            "0.9",
            "0.6",
            "0.2",
            "0.4 | x",
            "0.1\n",
            "0.0",
            "1.00",
            "0.8\n",
            "1.5",
            "-0.1",
            "x",
            "Score: 0.5",
            "0.5/1",
            "nan",
            ".5",
            "1 <AND>",
        ]
    )


def vl_icl(rng: random.Random) -> dict[str, Any]:
    task = rng.choice(
        ["open_mi", "operator_induction", "operator_induction_interleaved", "textocr", "clevr", "matching_mi"]
    )
    if task == "matching_mi":
        gold = rng.choice(["yes", "no", "Yes", "No"])
        said = gold if rng.random() < 0.7 else near(rng, rng.choice(["yes", "no"]))
    else:
        gold = str(rng.randint(-3, 20)) if task != "open_mi" and task != "textocr" else text(rng, 2).replace(".", "")
        said = gold if rng.random() < 0.6 else near(rng, gold)
    tail = rng.choice(["", "", "\nQuestion: next", ". And", "\n\n", ".", " = 5", "\n2"])
    return {"p": rng.choice(["", "", "", "\n", ".", " "]) + said + tail, "r": gold, "task": task}
