"""Text-only questions with one right answer: about a passage, sums, school science, and what code prints.

Answers to sums and code are worked out twice: by the generator, and from the written text by ``mm15.build._verify``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from mm15.base.errors import DataError
from mm15.build._verify import printed, value_of
from mm15.build.canvas import with_article
from mm15.build.materials import Fact

Turn = tuple[str, str, str]
"""Task, question, answer."""
ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|al|Mr|Mrs|Dr|St|No|Fig|Inc|Ltd|approx|[A-Za-z])\.", re.I)
WORD = re.compile(r"[A-Za-z]+")
PASSAGE_TASKS = (
    "missing_word",
    "count_word",
    "sentence_with",
    "last_word",
    "sort_words",
    "count_sentences",
    "next_sentence",
)
SUM_TASKS = ("sum", "chain", "brackets", "share", "percent", "shopping", "sequence", "compare")
CODE_TASKS = ("loop", "filter", "slices", "strings", "nested")


def sentences_of(passage: str) -> list[str]:
    """The sentences of a passage, each once; none where it is not plain where one ends (abbreviations, lists)."""
    parts = [part.strip() for part in re.split(r"(?<=[.!?])\s+(?=[A-Z])", passage) if part.strip()]
    doubtful = ABBREVIATION.search(passage) or "\n" in passage or len(set(parts)) < len(parts)
    whole = all(part[-1] in ".!?" and not re.search(r"[.!?:;]\s", part) for part in parts)
    return parts if whole and not doubtful else []


def passage_item(task: str, passage: str, rng: random.Random) -> Turn | None:
    """A question about a passage; None where it does not fit the task."""
    sentences = sentences_of(passage)
    words = WORD.findall(passage)
    long = sorted({word for word in words if len(word) >= 5 and words.count(word) == 1})
    needs_sentences = task in ("sentence_with", "last_word", "count_sentences", "next_sentence")
    if len(long) < 4 or (needs_sentences and len(sentences) < 2):
        return None
    word = rng.choice(long)
    if task == "missing_word":
        blanked = re.sub(rf"\b{word}\b", "____", passage)
        return task, f"{blanked}\n\nWhich word is missing: {_options(word, long, rng)}?", word
    if task == "count_word":
        word = rng.choice(sorted(set(words)))
        question = f'{passage}\n\nHow many times does the word "{word}" occur, spelled exactly so?'
        return task, question, str(words.count(word))
    if task == "sentence_with":
        holding = [sentence for sentence in sentences if word in WORD.findall(sentence)]
        question = f'{passage}\n\nCopy the sentence with the word "{word}".'
        return (task, question, holding[0]) if len(holding) == 1 else None
    if task == "last_word":
        place = rng.randrange(len(sentences))
        inside = WORD.findall(sentences[place])
        ordinal = ("first", "second", "third", "fourth", "fifth")[place : place + 1]
        if not ordinal or not inside or not sentences[place].rstrip(".!?").endswith(inside[-1]):
            return None
        return task, f"{passage}\n\nWhat is the last word of the {ordinal[0]} sentence?", inside[-1]
    if task == "sort_words":
        chosen = rng.sample(long, 4)
        question = f"Put these words into alphabetical order: {', '.join(chosen)}."
        return task, question, ", ".join(sorted(chosen, key=str.lower))
    if task == "count_sentences":
        return task, f"{passage}\n\nHow many sentences is that?", str(len(sentences))
    if task == "next_sentence":
        place = rng.randrange(len(sentences) - 1)
        return task, f'{passage}\n\nWhich sentence follows "{sentences[place]}"?', sentences[place + 1]
    raise ValueError(f"unknown task '{task}'")


def _options(answer: str, others: Sequence[str], rng: random.Random) -> str:
    wrong = rng.sample([word for word in others if word != answer], 3)
    return " or ".join([", ".join((chosen := rng.sample([answer, *wrong], 4))[:-1]), chosen[-1]])


def sum_item(task: str, rng: random.Random) -> Turn:
    """Arithmetic in figures or in a few words."""
    a, b, c = rng.randint(2, 99), rng.randint(2, 99), rng.randint(2, 12)
    thing = rng.choice(("apples", "pencils", "tickets", "books", "coins"))
    if task == "sum":
        sign = rng.choice("+-*")
        return _worked(task, f"What is {a} {sign} {b}?", f"{a} {sign} {b}", {"+": a + b, "-": a - b, "*": a * b}[sign])
    if task == "chain":
        return _worked(task, f"What is {a} + {b} - {c}?", f"{a} + {b} - {c}", a + b - c)
    if task == "brackets":
        return _worked(task, f"What is ({a} + {b}) * {c}?", f"({a} + {b}) * {c}", (a + b) * c)
    if task == "share":
        total = a * c
        question = f"{total} {thing} are shared equally by {c} people. How many does each get?"
        return _worked(task, question, f"{total} // {c}", a)
    if task == "percent":
        share, whole = rng.choice((5, 10, 20, 25, 50, 75)), 20 * rng.randint(2, 40)
        return _worked(task, f"What is {share}% of {whole}?", f"{share} * {whole} // 100", share * whole // 100)
    if task == "shopping":
        paid = a * c + b
        question = f"{c} {thing} cost {a} each. You pay with {paid}. How much do you get back?"
        return _worked(task, question, f"{paid} - {c} * {a}", b)
    if task == "sequence":
        terms = [a + c * step for step in range(5)]
        question = f"Which number comes next: {', '.join(map(str, terms[:4]))}?"
        return _worked(task, question, f"{terms[3]} + ({terms[1]} - {terms[0]})", terms[4])
    if task == "compare":
        left, right = a * c, b * c + rng.randint(-3, 3)
        question = f"Which is larger, {a} * {c} or {right}?"
        answer = "They are equal." if left == right else f"{a} * {c}" if left > right else str(right)
        if value_of(f"{a} * {c} > {right}") != (left > right):
            raise DataError(f"the answer to '{question}' was worked out in two ways, which differ")
        return task, question, answer
    raise ValueError(f"unknown task '{task}'")


def _worked(task: str, question: str, expression: str, answer: int) -> Turn:
    if value_of(expression) != answer:
        raise DataError(f"the answer to '{question}' was worked out in two ways, which differ")
    return task, question, str(answer)


def code_item(task: str, words: Sequence[str], rng: random.Random) -> Turn:
    """A short program and what it prints."""
    numbers = [rng.randint(1, 20) for _ in range(rng.randint(4, 6))]
    word, other = rng.choice(words), rng.choice(words)
    limit, step = rng.randint(3, 9), rng.randint(2, 4)
    programs: dict[str, tuple[str, str]] = {
        "loop": (
            f"total = 0\nfor number in range({limit}):\n    total += number * {step}\nprint(total)",
            str(sum(number * step for number in range(limit))),
        ),
        "filter": (
            f"numbers = {numbers}\ncount = 0\nfor number in numbers:\n    if number % {step} == 0:\n"
            "        count += 1\nprint(count)",
            str(sum(number % step == 0 for number in numbers)),
        ),
        "slices": (
            f"numbers = {numbers}\nprint(numbers[1:-1])\nprint(sum(numbers[::2]))",
            f"{numbers[1:-1]}\n{sum(numbers[::2])}",
        ),
        "strings": (
            f'word = "{word}"\nprint(word[::-1].upper())\nprint(len(word + "{other}"))',
            f"{word[::-1].upper()}\n{len(word) + len(other)}",
        ),
        "nested": (
            f"best = 0\nfor number in {numbers}:\n    if number > best:\n        best = number\n"
            f"print(best, sorted({numbers})[0])",
            f"{max(numbers)} {min(numbers)}",
        ),
    }
    program, answer = programs[task]
    if printed(program) != answer:
        raise DataError(f"what this program prints was worked out in two ways, which differ:\n{program}")
    return task, f"What does this Python program print?\n\n```python\n{program}\n```", answer


SCIENCE_TASKS = ("kind", "legs", "fly", "water", "alive", "definition", "odd_one")


def science_item(task: str, facts: Mapping[str, Fact], rng: random.Random) -> Turn | None:
    """A question about named things and what is true of them; None where this draw does not fit."""
    names = sorted(facts)
    name = rng.choice(names)
    fact, thing = facts[name], with_article(name)
    if task == "kind":
        kinds = sorted({other.kind for other in facts.values()})
        chosen = sorted({fact.kind, *rng.sample(kinds, min(3, len(kinds)))})
        return task, f"Which of these is {thing}: {', '.join(rng.sample(chosen, len(chosen)))}?", fact.kind
    if task == "legs":
        return (task, f"How many legs does {thing} have?", str(fact.legs)) if fact.kind == "animal" else None
    if task == "fly":
        return task, f"Can {thing} fly?", "yes" if fact.flies else "no"
    if task == "water":
        return (
            (task, f"Does {thing} live in water?", "yes" if fact.in_water else "no") if fact.kind == "animal" else None
        )
    if task == "alive":
        # Whether food is alive is a matter of opinion.
        return (task, f"Is {thing} a living thing?", "yes" if fact.alive else "no") if fact.kind != "food" else None
    if task == "definition":
        wrong = rng.sample([other for other in names if other != name], 3)
        options = ", ".join(rng.sample([name, *wrong], 4))
        return (task, f'Which word means "{fact.about}": {options}?', name) if name not in fact.about else None
    if task == "odd_one":
        same = [other for other in names if facts[other].kind == fact.kind and other != name]
        different = [other for other in names if facts[other].kind != fact.kind]
        if len(same) < 2 or not different:
            return None
        odd = rng.choice(different)
        chosen = rng.sample([name, *rng.sample(same, 2), odd], 4)
        return task, f"Three of these are of one kind. Which is not: {', '.join(chosen)}?", odd
    raise ValueError(f"unknown task '{task}'")
