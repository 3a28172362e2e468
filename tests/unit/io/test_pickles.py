"""Plain values come back; whatever would run something is refused before it runs."""

from __future__ import annotations

import collections
import os
import pickle
from pathlib import Path

import pytest

from mm15.base.errors import ConfigError
from mm15.io.pickles import load_pickle

REFS = [
    {
        "ref_id": 7,
        "sent_ids": [1, 2],
        "split": "val",
        "box": (1.5, 2.0),
        "sentences": [{"sent": "the dog"}],
        "ok": True,
    },
    {"ref_id": 8, "names": {"a", "b"}, "raw": b"\x00\xff", "none": None, "big": 1 << 80, "text": "Straße 日本"},
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_come_back_from_every_protocol(protocol: int):
    assert load_pickle(pickle.dumps(REFS, protocol)) == REFS


def test_strings_of_python_2_are_text():
    # What Python 2 wrote for [{'sent': 'caf\xc3\xa9', 'id': 3}] in protocols 0 and 2.
    old = b"(lp0\n(dp1\nS'sent'\np2\nS'caf\\xc3\\xa9'\np3\nsS'id'\np4\nI3\nsa."
    binary = b"\x80\x02]q\x00}q\x01(U\x04sentq\x02U\x05caf\xc3\xa9q\x03U\x02idq\x04K\x03ua."
    assert load_pickle(old) == load_pickle(binary) == [{"sent": "café", "id": 3}]


class Reduce:
    def __init__(self, function, *arguments):
        self.told = (function, arguments)

    def __reduce__(self):
        return self.told


class Plain:
    pass


ATTACKS = {
    "system": lambda mark: pickle.dumps(Reduce(os.system, f"touch {mark}")),
    "system, protocol 0": lambda mark: pickle.dumps([Reduce(os.system, f"touch {mark}")], 0),
    "eval": lambda mark: pickle.dumps({"a": Reduce(eval, f"open({str(mark)!r}, 'w')")}),
    "exec": lambda mark: pickle.dumps(Reduce(exec, f"open({str(mark)!r}, 'w')")),
    "open": lambda mark: pickle.dumps(Reduce(open, str(mark), "w")),
    "getattr": lambda mark: b"cbuiltins\ngetattr\n(cbuiltins\nset\nS'__class__'\ntR.",
    "python 2 builtins": lambda mark: b"c__builtin__\neval\n(S'open(%r, \"w\")'\ntR." % str(mark).encode(),
    "stack global": lambda mark: b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R.",
    "dotted name": lambda mark: b"\x80\x04\x8c\x08builtins\x8c\x10set.__subclasses__\x93)R.",
    "inst": lambda mark: b"(S'touch %s'\nios\nsystem\n." % str(mark).encode(),
    "obj": lambda mark: b"(cos\nsystem\nS'ls'\no.",
    "build": lambda mark: b"cbuiltins\nset\n)R}S'x'\nI1\nsb.",
    "newobj": lambda mark: pickle.dumps(Plain(), 4),
    "class": lambda mark: pickle.dumps(collections.Counter("aab")),
    "persistent id": lambda mark: b"Pabc\n.",
    "extension": lambda mark: b"\x82\x01.",
    "bytes of a length": lambda mark: pickle.dumps(Reduce(bytes, 1 << 40)),
    "other codec": lambda mark: b"c_codecs\nencode\n(S'ab'\nS'zlib'\ntR.",
    "memo place": lambda mark: b"I1\nr\xff\xff\xff\x7f.",
    "memo place, text": lambda mark: b"I1\np99999999999\n.",
    "announced length": lambda mark: b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "a set of what has no hash": lambda mark: b"cbuiltins\nset\n((lltR.",
    "cut off": lambda mark: pickle.dumps(REFS)[:-20],
    "no end": lambda mark: pickle.dumps(REFS)[:-1],
    "empty": lambda mark: b"",
    "junk": lambda mark: b"\xff\xd8\xff\xe0 not a pickle",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_everything_else_is_refused_and_nothing_runs(attack: str, tmp_path: Path):
    mark = tmp_path / "ran"
    with pytest.raises(ConfigError, match=r"refs\.p: not a pickle of plain values only"):
        load_pickle(ATTACKS[attack](mark), "refs.p")
    assert not mark.exists()


def test_the_reason_names_what_it_asks_for():
    with pytest.raises(ConfigError, match=r"it asks for posix\.system"):
        load_pickle(pickle.dumps(Reduce(os.system, "ls")))
