"""One small interface over a Hugging Face ``tokenizer.json``; user text can never become a special token.

Two copies of the same tokenizer stand behind it. The *full* one knows the added tokens: it decodes, and it reads the
strings of a template. The *text* one has them taken out and reads everything else, so that ``<|image|>`` typed by a
user is nothing but nine characters. Where an added token is also an ordinary entry of the vocabulary (``</s>`` in
SentencePiece models) the text one could still find it; such text is cut in the middle of the match and read in pieces.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers

from mm15.base.catalogue import did_you_mean
from mm15.base.errors import BundleError, ConfigError, SkipSample

WORDS = r"\(\p{N},\p{N},\p{N}\)|, |\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+"
"""The pieces of a text that may be one token of a trained tokenizer: words, never two digits of a number (coordinates
stay readable). A sub-image's index, ``(0,2,1)``, and the comma between coordinates may each become one token: they are
most of the text around a picture."""


class Tokenizer:
    """Reads and writes tokens. Equal ``tokenizer.json`` bytes give equal tokenizers; instances can be pickled.

    Attributes:
        specials: every added token and its id, marked special in the file or not. No text yields one of these ids.
            Left out are one-character entries that the file adds without marking them special although the vocabulary
            has them anyway: those are letters, not markers.
        vocab_size: rows an embedding needs, one more than the largest id.
        fingerprint: sixteen hex digits of the file's content.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        content = _parsed(source)
        self._full = tokenizers.Tokenizer.from_str(json.dumps(content))
        self._text = tokenizers.Tokenizer.from_str(json.dumps({**content, "added_tokens": []}))
        self._trusted: dict[str, tuple[int, ...]] = {}
        self.specials: dict[str, int] = {}
        for index, token in sorted(self._full.get_added_tokens_decoder().items()):
            letter = len(token.content) == 1 and not token.special and self._text.token_to_id(token.content) == index
            if not letter:
                self.specials[token.content] = index
        self._forbidden = frozenset(self.specials.values())
        self.vocab_size = max(self._full.get_vocab().values(), default=-1) + 1
        self.fingerprint = hashlib.sha256(source.encode()).hexdigest()[:16]

    @classmethod
    def from_file(cls, path: str | Path) -> Tokenizer:
        """Read a ``tokenizer.json``. Raises ``BundleError`` if it is not one."""
        return cls.from_bytes(Path(path).read_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> Tokenizer:
        """The tokenizer in the bytes of a ``tokenizer.json``. Raises ``BundleError`` if they are not one."""
        try:
            return cls(data.decode())
        except UnicodeDecodeError as error:
            raise BundleError(f"tokenizer.json is not UTF-8 ({error}); copy the file again") from error

    @property
    def source(self) -> str:
        """The text of the ``tokenizer.json`` this was made from."""
        return self._source

    def save(self, path: str | Path) -> None:
        """Write the ``tokenizer.json`` this was made from, byte for byte."""
        Path(path).write_bytes(self._source.encode())

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[str]]:
        return Tokenizer, (self._source,)

    def with_specials(self, names: Iterable[str]) -> Tokenizer:
        """The same tokenizer with these special tokens added after its last id; names it has keep their id."""
        names = list(names)
        if not names:
            return self
        backend = tokenizers.Tokenizer.from_str(self._source)
        backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
        return Tokenizer(backend.to_str())

    def with_names(self, names: Mapping[str, str]) -> Tokenizer:
        """The same tokenizer with added tokens renamed, old name → new name; their ids stay.

        Raises:
            ConfigError: a name is no added token.
        """
        content = json.loads(self._source)
        for old, new in names.items():
            index = self.special(old)
            for token in content["added_tokens"]:
                if token["id"] == index:
                    token |= {"content": new, "special": True, "normalized": False}
            vocab = content["model"].get("vocab")
            if isinstance(vocab, dict) and old in vocab:
                vocab[new] = vocab.pop(old)
        return Tokenizer(json.dumps(content, ensure_ascii=False)) if names else self

    def encode(self, text: str) -> list[int]:
        """Ids of a text. None of them is the id of an added token, whatever the text.

        Raises:
            SkipSample: the text has half of a surrogate pair, or a character the vocabulary cannot write.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            where = f"{error.object[error.start]!a} at character {error.start}"
            raise SkipSample(f"text has half of a surrogate pair ({where}); write it as valid Unicode") from error
        encoding = self._text.encode(text, add_special_tokens=False)
        if self._forbidden.isdisjoint(encoding.ids):
            return encoding.ids
        cuts = {0, len(text)}
        for index, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if index not in self._forbidden:
                continue
            if end - start < 2:
                only = self._full.id_to_token(index)
                raise SkipSample(
                    f"the tokenizer can write {text[start:end]!r} only as '{only}', which text must never yield; "
                    "take the character out or use a tokenizer with byte fallback"
                )
            cuts.add((start + end) // 2)
        return [index for start, end in pairwise(sorted(cuts)) for index in self.encode(text[start:end])]

    def encode_trusted(self, text: str) -> tuple[int, ...]:
        """Ids of a string from a config, in which the names of added tokens mean these tokens. Never for user text."""
        if text not in self._trusted:
            self._trusted[text] = tuple(self._full.encode(text, add_special_tokens=False).ids)
        return self._trusted[text]

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """The text of ids; tokens marked special are left out unless ``skip_special`` is False."""
        return self._full.decode(list(ids), skip_special_tokens=skip_special)

    def special(self, name: str) -> int:
        """The id of an added token. Raises ``ConfigError`` with the nearest name if there is none."""
        if name not in self.specials:
            hint = did_you_mean(name, self.specials)
            raise ConfigError([f"the tokenizer has no special token '{name}'{hint}"], "tokenizer")
        return self.specials[name]


def _parsed(source: str) -> dict:
    """The file as a mapping, without the settings that would cut, pad or randomise a text."""
    try:
        content = json.loads(source)
    except json.JSONDecodeError as error:
        raise BundleError(f"tokenizer.json is not valid JSON ({error}); copy the file again") from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise BundleError("tokenizer.json has no 'model' part; expected the file format of the tokenizers library")
    model = content["model"] | ({"dropout": None} if "dropout" in content["model"] else {})
    return content | {"model": model, "truncation": None, "padding": None, "post_processor": None}


def train_tokenizer(texts: Iterable[str], specials: Sequence[str], words: Sequence[str] = ()) -> Tokenizer:
    """A small tokenizer: the 256 bytes, every character of the texts, the given words, then the special tokens.

    A given word is one token where it stands alone; every other word is spelt, also one that begins like it. Text with
    characters it has not seen is written in UTF-8 bytes, so ``decode(encode(text)) == text`` for every text. The digits
    of a number are never merged. The same arguments give the same file.

    Args:
        texts: whose characters become tokens.
        specials: names of the special tokens; they take the last ids, in this order.
        words: strings that become one token each, such as " the" or "(0,2,1)"; each must be one piece of ``WORDS``.
    """
    alphabet = sorted(set().union(*texts, *words))
    tokens = [f"<0x{byte:02X}>" for byte in range(256)] + alphabet + list(words)
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True, ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), "isolated")
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return Tokenizer(backend.to_str()).with_specials(specials)
