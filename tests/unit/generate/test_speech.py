"""What is shown of an answer while it comes: whole characters, nothing of a stop string, nothing taken back."""

from __future__ import annotations

import pytest

from mm15.generate.speech import Speech


def as_bytes(ids) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


def told(text: str | bytes, stops=()) -> tuple[list[str], str, bool]:
    speech = Speech(as_bytes, stops)
    pieces = []
    for token in text.encode() if isinstance(text, str) else text:
        piece, is_stopped = speech.hear(token)
        pieces.append(piece)
        if is_stopped:
            return [p for p in pieces if p], speech.text or "", True
    pieces.append(speech.end())
    return [p for p in pieces if p], speech.text or "", False


def test_characters_are_never_cut():
    pieces, text, _ = told("aé🐕b")
    assert pieces == ["a", "é", "🐕", "b"]
    assert text == "aé🐕b"


@pytest.mark.parametrize(
    ("text", "stops", "shown"),
    [
        ("ab###cd", ["###"], "ab"),
        ("ab##cd#e###", ["###"], "ab##cd#e"),
        ("aababx", ["abab"], "a"),
        ("one\ntwo", ["two", "\n"], "one"),
        ("x<end>y<stop>", ["<stop>", "<end>!"], "x<end>y"),
        ("dogé🐕", ["é🐕"], "dog"),
        ("🐕🐕", ["🐕"], ""),
    ],
)
def test_a_stop_string_ends_the_answer_and_no_part_of_it_is_shown(text, stops, shown):
    pieces, found, is_stopped = told(text, stops)
    assert (found, is_stopped) == (shown, True)
    assert "".join(pieces) == shown


def test_the_beginning_of_a_stop_string_is_shown_once_it_is_none():
    assert told("a##b", ["###"])[0] == ["a", "##b"]
    assert told("a##", ["###"]) == (["a", "##"], "a##", False)


def test_every_prefix_shown_is_a_prefix_of_the_text():
    text = "a<e>b<en<end <end>"
    speech, shown = Speech(as_bytes, ["<end>"]), ""
    for token in text.encode():
        shown += speech.hear(token)[0]
        assert "a<e>b<en<end ".startswith(shown)
    assert speech.text == shown == "a<e>b<en<end "


def test_a_cut_character_at_the_end_is_told_as_it_is():
    pieces, text, _ = told(b"dog" + "é".encode()[:1])
    assert pieces == ["d", "o", "g", "\ufffd"]
    assert text == "dog\ufffd"


def test_what_was_given_is_never_taken_back():
    def spoiling(ids) -> str:  # byte-fallback decoders replace a whole run that holds a byte that is no text
        return "\ufffd" * len(ids) if 0xFF in ids else as_bytes(ids)

    speech = Speech(spoiling)
    assert [speech.hear(token)[0] for token in (ord(";"), 0xFF, ord("!"))] == [";", "", ""]
    assert speech.end() == ""
    assert speech.text == "\ufffd" * 3


def test_no_text_is_made_before_the_end_where_no_one_looks():
    calls = []
    speech = Speech(lambda ids: calls.append(len(ids)) or as_bytes(ids), shows=False)
    for token in b"abc":
        assert speech.hear(token) == ("", False)
    assert (speech.end(), speech.text, calls) == ("", "abc", [3])
