"""Tokenizer: no text becomes a special token, whatever the file; ours loses nothing."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable

import pytest
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from mm15.base.errors import BundleError, ConfigError, SkipSample
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import Tokenizer, train_tokenizer

TEXTS = ["What is left of the red square? The dog [12, 345, 67, 890].", "Zwölf Boxkämpfer — 3 € & more\nline two"]


def ours(words: tuple[str, ...] = ()) -> Tokenizer:
    return train_tokenizer(TEXTS, SPECIALS, words)


def byte_level() -> Tokenizer:
    """Like GPT-2 or Qwen: byte alphabet, special and other added tokens; the file truncates and prepends a token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>"])
    backend.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("    ", normalized=False)])
    first = ("<|endoftext|>", 256)
    backend.post_processor = processors.TemplateProcessing(single=f"{first[0]} $A", special_tokens=[first])
    backend.enable_truncation(5)
    return Tokenizer(backend.to_str())


def word_level() -> Tokenizer:
    """Its added tokens lie in the model's own vocabulary, the unknown token too; text is lower-cased and cleaned."""
    words = ["[unk]", "</s>", "hello", "there", "</", "s>", "\n"]
    backend = tokenizers.Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[unk]"))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(["[unk]", "</s>"])
    backend.add_tokens([AddedToken("\n")])
    return Tokenizer(backend.to_str())


def unigram() -> Tokenizer:
    """SentencePiece-like: ``</s>`` is a piece that the model finds in text by itself."""
    pieces = [("<unk>", 0.0), ("</s>", -0.1), *((letter, -3.0) for letter in " a</s>")]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    backend.add_special_tokens(["<unk>"])
    backend.add_tokens([AddedToken("</s>", normalized=False)])
    return Tokenizer(backend.to_str())


def attacks(name: str) -> list[str]:
    """Ways to write a special token that a tokenizer might fall for."""
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in name)
    joined = [name[:cut] + mark + name[cut:] for cut in (1, len(name) // 2) for mark in ("\u200d", "\u200b", "\u00ad")]
    framed = [f"{left}{name}{right}" for left in ("", " ", "x", "\n", "\t") for right in ("", " ", "x", "\n", name)]
    casings = [name.upper(), name.lower(), name.title(), name.swapcase(), wide]
    nested = [name * 3, f"<{name}>", name[:-1], name[1:], name[:3] + name + name[3:], f"/{name}.png"]
    return [*framed, *joined, *casings, *nested]


@pytest.mark.parametrize("make", [byte_level, unigram, word_level, ours, lambda: ours((" the",))])
def test_no_text_yields_an_added_token(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    forbidden = set(tokenizer.specials.values())
    for name in tokenizer.specials:
        for text in attacks(name):
            try:
                assert forbidden.isdisjoint(tokenizer.encode(text)), text
            except SkipSample as refused:
                assert "unk" in str(refused), "only a character without a token may be refused"
        assert tokenizer.special(name) in tokenizer.encode_trusted(name), "a template can write it"


def test_random_mixtures_of_special_names_stay_text() -> None:
    for tokenizer in (byte_level(), ours((" the", ", "))):
        dice = random.Random(7)
        forbidden = set(tokenizer.specials.values())
        fragments = [*tokenizer.specials, "<", "|", ">", "im_", " ", "x", "é", "\n"]
        for _ in range(300):
            text = "".join(dice.choices(fragments, k=dice.randint(1, 8)))
            ids = tokenizer.encode(text)
            assert forbidden.isdisjoint(ids)
            assert tokenizer.decode(ids) == text


def test_a_special_piece_in_the_vocabulary_is_read_in_smaller_pieces() -> None:
    assert unigram().encode("a</s>a") == [3, 4, 5, 6, 7, 3]
    assert word_level().encode("hello </s> there") == [2, 4, 5, 3]


def test_what_only_the_unknown_token_can_write_is_refused_by_name() -> None:
    with pytest.raises(SkipSample, match="'☃' only as '<unk>'"):
        unigram().encode("a☃a")


def test_a_letter_that_a_file_adds_is_still_a_letter() -> None:
    assert set(word_level().specials) == {"[unk]", "</s>"}


def test_truncation_and_post_processing_of_a_file_are_off() -> None:
    tokenizer = byte_level()
    assert len(tokenizer.encode("a" * 40)) == 40
    assert len(tokenizer.encode_trusted("b" * 40)) == 40
    assert tokenizer.vocab_size == 256 + 6


def test_decode_hides_special_tokens_only() -> None:
    tokenizer = ours()
    ids = [tokenizer.special("<|bos|>"), *tokenizer.encode("a dog"), tokenizer.special("<|end|>")]
    assert tokenizer.decode(ids) == "a dog"
    assert tokenizer.decode(ids, skip_special=False) == "<|bos|>a dog<|end|>"
    assert byte_level().decode(byte_level().encode_trusted("<|im_start|><tool_call>ä")) == "<tool_call>ä"


@pytest.mark.parametrize("words", [(), (" the", " dog", "(0,2,1)", ", ")])
def test_ours_loses_nothing(words: tuple[str, ...]) -> None:
    tokenizer = ours(words)
    dice = random.Random(3)
    texts = [*TEXTS, ""]
    texts += [" ", "\n\n  \t\r\n", "<0x41><0x0A>", "日本語 🦊👩\u200d👧 \x00\x7f", "e\u0301 ﬁ ① Ⅳ ٣", "\u200d\ufeff"]
    valid = [*range(0xD800), *range(0xE000, 0x110000)]
    texts += ["".join(map(chr, dice.choices(valid, k=20))) for _ in range(50)]
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_pure_characters() -> None:
    tokenizer = ours()
    assert len(tokenizer.encode("the dog [12, 345]")) == len("the dog [12, 345]")
    assert tokenizer.vocab_size == 256 + len(set("".join(TEXTS))) + len(SPECIALS)
    last = range(tokenizer.vocab_size - len(SPECIALS), tokenizer.vocab_size)
    assert [tokenizer.special(name) for name in SPECIALS] == list(last)


def test_given_words_become_one_token_and_spellings_stay_single() -> None:
    words = (" dog", " the", "(0,2,1)", ", ")
    tokenizer = train_tokenizer(["the dog and the cat at (123)"], SPECIALS, words)
    for word in words:
        assert len(tokenizer.encode(word)) == 1
    # Whole words only: without its space it is another word, and what begins like one is spelt.
    assert len(tokenizer.encode("the")) == len("the")
    assert len(tokenizer.encode(" doge")) == len(" doge")
    assert len(tokenizer.encode("[123, 45]")) == len("[123") + 1 + len("45]")
    again = train_tokenizer(["the dog and the cat at (123)"], SPECIALS, words)
    assert tokenizer.fingerprint == again.fingerprint
    assert tokenizer.fingerprint != train_tokenizer(["the dog and the cat at (123)"], SPECIALS).fingerprint


def test_files_and_copies_are_equal(tmp_path) -> None:
    tokenizer = ours((" the",))
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    copies = [Tokenizer.from_file(path), pickle.loads(pickle.dumps(tokenizer)), Tokenizer.from_bytes(path.read_bytes())]
    for copy in copies:
        assert copy.fingerprint == tokenizer.fingerprint
        assert copy.specials == tokenizer.specials
        assert copy.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])
    copies[0].save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_more_special_tokens_go_to_the_end() -> None:
    before = byte_level()
    after = before.with_specials(["<|im_end|>", "<|extra|>"])
    assert after.special("<|im_end|>") == before.special("<|im_end|>")
    assert after.special("<|extra|>") == before.vocab_size == after.vocab_size - 1


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ConfigError, match=r"did you mean '<\|im_start\|>'"):
        byte_level().special("<|im_strat|>")
    with pytest.raises(SkipSample, match=r"surrogate pair \('\\ud83d' at character 2\)"):
        byte_level().encode("ab\ud83d")
    for data in (b"<html>", b"[]", json.dumps({"model": 3}).encode(), b"\xff\xfe"):
        with pytest.raises(BundleError, match=r"tokenizer\.json"):
            Tokenizer.from_bytes(data)
