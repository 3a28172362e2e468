from mm15.base.rng import python_rng
from mm15.build.materials import Materials
from mm15.build.text_only import MAX_TEXT, TASKS, ask, text_row

MATERIALS = Materials()


def test_answers_follow_from_the_word():
    words = set(MATERIALS.words("train"))
    for seed in range(40):
        for task in set(TASKS) - {"finish"}:
            question, answer = ask(task, MATERIALS, "train", python_rng(seed, task))
            (word,) = [part for part in question.rstrip(".?").split() if part in words and part not in FRAME[task]]
            assert (
                answer
                == {
                    "spell": "-".join(word),
                    "copy": word,
                    "first_letter": word[0],
                    "last_letter": word[-1],
                    "capitals": word.upper(),
                    "letters": str(len(word)),
                }[task]
            )


FRAME = {
    "spell": [],
    "copy": [],
    "first_letter": ["What", "is", "the", "first", "letter", "of"],
    "last_letter": ["What", "is", "the", "last", "letter", "of"],
    "capitals": ["Write", "in", "capitals"],
    "letters": ["How", "many", "letters", "does", "have"],
}


def test_a_sentence_is_finished_with_its_own_last_word():
    text = " ".join(MATERIALS.paragraphs("train"))
    for seed in range(40):
        question, answer = ask("finish", MATERIALS, "train", python_rng(seed))
        start = question.removeprefix("Finish: ")
        assert len(question) <= 40 and len(start.split()) >= 3
        assert f"{start} {answer}" in " ".join(text.split())


def test_plain_text_is_a_piece_of_a_real_paragraph():
    paragraphs = [" ".join(paragraph.split()) for paragraph in MATERIALS.paragraphs("heldout")]
    rows = [text_row(i, str, "heldout", 5, MATERIALS)["text"] for i in range(2 * len(paragraphs))]
    assert all(20 <= len(text) <= MAX_TEXT for text in rows[: len(paragraphs)])
    for text in rows[::7]:
        assert any(" ".join(text.split()) in paragraph for paragraph in paragraphs)


def test_every_paragraph_comes_once_per_lap():
    count = len(MATERIALS.paragraphs("heldout"))
    lap = [text_row(i, str, "heldout", 5, MATERIALS)["text"] for i in range(count)]
    starts = {text[:40] for text in lap}
    assert len(starts) == len({paragraph[:40] for paragraph in MATERIALS.paragraphs("heldout")})
