"""A chat template of the hub (a Jinja program) as our ``TemplateConfig`` (strings around turns), or a refusal.

The program is run, in Jinja's sandbox, on a few conversations whose texts are easy to find again; what stands around
them are the strings. Then they are laid out by our rule and compared with what the program writes, so that whatever the
strings cannot express is found rather than lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mm15.base.errors import ConfigError
from mm15.interop.files import read_json
from mm15.text.template import CHATML, TemplateConfig, Turn
from mm15.text.tokenizer import Tokenizer

SYSTEM, ASKED, SAID, ASKED_AGAIN, SAID_AGAIN = "Vorwort.", "Erste Frage?", "Antwort eins.", "Frage zwei?", "Schluss."
NO_THOUGHT = "<think>\n\n</think>\n\n"
"""What Qwen3 writes before its last answer where it did not think."""
DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>")
"""The end of a document in pre-training, where a chat model's end token is that of a turn."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A template, and in sentences what it leaves out of the original."""

    template: TemplateConfig
    notes: tuple[str, ...]


def convert_template(folder: str | Path, tokenizer: Tokenizer, image: str) -> Converted:
    """The chat template of a folder: ``chat_template.jinja``, or that of ``tokenizer_config.json``.

    Args:
        tokenizer: of the folder, for the names of its special tokens.
        image: the special token that stands for a picture.

    Raises:
        ConfigError: the folder has none, or what it does cannot be expressed by strings around turns; each is named.
    """
    settings = tokenizer_settings(folder)
    source = template_source(folder, settings)
    if source is None:
        raise ConfigError(["there is no chat template (chat_template.jinja, tokenizer_config.json)"], str(folder))
    try:
        return _Reading(source, settings, tokenizer, image).converted()
    except ConfigError as error:
        fix = "take --template chatml or --template plain, which the model then learns in training"
        raise ConfigError([*error.problems, fix], f"chat template of {folder}") from error


def base_template(folder: str | Path, tokenizer: Tokenizer, image: str) -> TemplateConfig:
    """A template for a model that has none: ChatML where the tokenizer has its tokens, else our own.

    Documents begin and end as the model's pre-training had it. The special tokens it names may still have to be added.
    """
    settings = tokenizer_settings(folder)
    bos = begins_with(folder, settings, tokenizer)
    has_chatml = {"<|im_start|>", "<|im_end|>"} <= tokenizer.specials.keys()
    chosen = CHATML if has_chatml else TemplateConfig()
    end = _document_end(settings, tokenizer) or chosen.assistant.end
    return chosen.model_copy(update={"bos": bos, "image": image, "document": Turn(end=end)})


def tokenizer_settings(folder: str | Path) -> dict[str, Any]:
    """``tokenizer_config.json``, with special tokens as plain strings; empty if there is none."""
    path = Path(folder) / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    return {
        key: value["content"] if isinstance(value, Mapping) and "content" in value else value
        for key, value in settings.items()
    }


def template_source(folder: str | Path, settings: Mapping[str, Any]) -> str | None:
    """The Jinja source, of several named templates the default one."""
    path = Path(folder) / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    stated = settings.get("chat_template")
    if isinstance(stated, list):
        named = {str(item.get("name")): item.get("template") for item in stated}
        stated = named.get("default")
    return stated if isinstance(stated, str) else None


def begins_with(folder: str | Path, settings: Mapping[str, Any], tokenizer: Tokenizer) -> str:
    """The special token that the folder's tokenizer puts in front of a text; empty if it puts none."""
    bos = settings.get("bos_token")
    if bos not in tokenizer.specials:
        return ""
    path = Path(folder) / "tokenizer.json"
    after = read_json(path).get("post_processor") if path.is_file() else None
    adds = settings.get("add_bos_token", json.dumps(bos) in json.dumps(after))
    return str(bos) if adds else ""


def _document_end(settings: Mapping[str, Any], tokenizer: Tokenizer) -> str:
    known = [name for name in (*DOCUMENT_ENDS, settings.get("eos_token")) if name in tokenizer.specials]
    return known[0] if known else ""


class _Reading:
    """One template while it is taken apart."""

    def __init__(self, source: str, settings: Mapping[str, Any], tokenizer: Tokenizer, image: str) -> None:
        self.settings, self.tokenizer, self.image = settings, tokenizer, image
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = _no_clock
        environment.filters["tojson"] = lambda value, **more: json.dumps(value, ensure_ascii=False, **more)
        try:
            self.program = environment.from_string(source)
        except TemplateError as error:
            raise ConfigError([f"not a Jinja template ({error})"]) from error
        self.notes: list[str] = []
        self.space = ""
        """What the program writes between the announcement of an answer and the answer."""

    def converted(self) -> Converted:
        head, between, answer, tail = self._around((ASKED, SAID, ASKED_AGAIN, SAID_AGAIN))
        open_text = self._write((("user", ASKED),), opened=True)
        closed = self._write((("user", ASKED),))
        after_user = closed[closed.index(ASKED) + len(ASKED) :]
        opening = open_text[open_text.index(ASKED) + len(ASKED) :]
        if not opening.startswith(after_user):
            raise ConfigError(["the text behind a question changes where an answer is to follow"])
        prefix = opening.removeprefix(after_user)
        if between != opening:
            if not between.startswith(opening) or between.removeprefix(opening).strip():
                raise ConfigError([f"an answer is announced by {opening!r}, but inside a conversation by {between!r}"])
            self.space = between.removeprefix(opening)
            self.notes.append(f"{self.space!r} before an answer is left out: the model is asked without it, too")
        end, after = self._end(tail)
        if not answer.startswith(end + after):
            after = ""
            self.notes.append(f"the line end {tail.removeprefix(end)!r} behind the last answer is left out")
        user_prefix = answer.removeprefix(end + after)
        bos, head = self._bos(head)
        if not head.endswith(user_prefix):
            raise ConfigError([f"a first question is announced by {head!r}, a later one by {user_prefix!r}"])
        if default := head.removesuffix(user_prefix):
            self.notes.append(
                f"a conversation without a system message begins with {default!r} there, with nothing here"
            )
        user = Turn(prefix=user_prefix, after=after_user)
        template = TemplateConfig(
            bos=bos,
            image=self.image,
            system=self._system(bos, user_prefix),
            user=user,
            assistant=Turn(prefix=prefix, end=end, after=after),
            document=Turn(end=_document_end(self.settings, self.tokenizer) or end),
        )
        self._verify(template)
        return Converted(template, tuple(self.notes))

    def _around(self, texts: tuple[str, str, str, str]) -> tuple[str, str, str, str]:
        """What stands before the first text, between question and answer, between turns, and behind the last."""
        whole = self._write(tuple(zip(("user", "assistant") * 2, texts, strict=True)))
        places = [whole.find(text) for text in texts]
        if min(places) < 0 or places != sorted(places):
            raise ConfigError(["it changes or leaves out the text of turns"])
        ends = [place + len(text) for place, text in zip(places, texts, strict=True)]
        last = whole[ends[2] : places[3]]
        first = whole[ends[0] : places[1]]
        if last != first:
            if last != first + NO_THOUGHT:
                raise ConfigError([f"the last answer is announced by {last!r}, the others by {first!r}"])
            self.notes.append("the empty thought before the last answer is left out")
        return whole[: places[0]], first, whole[ends[1] : places[2]], whole[ends[3] :]

    def _system(self, bos: str, user_prefix: str) -> Turn | None:
        try:
            whole = self._write((("system", SYSTEM), ("user", ASKED)))
        except ConfigError:
            self.notes.append("it takes no system message: samples that have one are skipped by name")
            return None
        place, question = whole.find(SYSTEM), whole.find(ASKED)
        before, behind = whole[len(bos) : max(place, 0)], whole[place + len(SYSTEM) : question]
        if not 0 <= place < question or not behind.endswith(user_prefix) or before.startswith(user_prefix):
            self.notes.append("it writes a system message inside the first question: samples that have one are skipped")
            return None
        return Turn(prefix=before, after=behind.removesuffix(user_prefix))

    def _end(self, tail: str) -> tuple[str, str]:
        """The special token that ends an answer, and what follows it."""
        found = [name for name in self.tokenizer.specials if tail.startswith(name)]
        if not found:
            raise ConfigError([f"an answer ends with {tail!r}, which does not begin with a special token"])
        end = max(found, key=len)
        return end, tail.removeprefix(end)

    def _bos(self, head: str) -> tuple[str, str]:
        bos = self.settings.get("bos_token")
        if isinstance(bos, str) and bos in self.tokenizer.specials and head.startswith(bos):
            return bos, head.removeprefix(bos)
        return "", head

    def _verify(self, template: TemplateConfig) -> None:
        """Lay conversations out by our rule and compare with what the program writes."""
        question = (("user", ASKED), ("assistant", SAID), ("user", ASKED_AGAIN))
        default = self._write(question[:1])
        plain = laid_out(template, question[:1])
        front = default.removesuffix(plain.removeprefix(template.bos)).removeprefix(template.bos)
        cases = [(question[:1], True), (question, True)]
        if template.system is not None:
            system = (("system", SYSTEM),)
            cases += [((*system, *question[:1]), True), ((*system, *question), True)]
        problems = []
        for turns, opened in cases:
            ours, theirs = laid_out(template, turns, opened), self._write(turns, opened)
            if turns[0][0] != "system" and front:
                theirs = theirs.replace(front, "", 1)
            theirs = theirs.replace(self.space + SAID, SAID)
            if ours != theirs:
                problems.append(f"it writes {theirs!r}, strings around turns can only write {ours!r}")
        if problems:
            raise ConfigError(problems[:1])

    def _write(self, turns: Sequence[tuple[str, str]], opened: bool = False) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        tokens = {key: value for key, value in self.settings.items() if key.endswith("_token")}
        try:
            return self.program.render(messages=messages, add_generation_prompt=opened, **tokens)
        except Exception as error:  # whatever a foreign program does
            raise ConfigError([f"it refuses the turns {', '.join(role for role, _ in turns)} ({error})"]) from error


def laid_out(template: TemplateConfig, turns: Sequence[tuple[str, str]], opened: bool = False) -> str:
    """The text that ``text.template.layout`` tokenises for a conversation of (role, content)."""
    text = template.bos
    for role, content in turns:
        turn = {"system": template.system, "user": template.user, "assistant": template.assistant}[role]
        assert turn is not None
        text += f"{turn.prefix}{content}{turn.end}{turn.after}"
    return text + (template.assistant.prefix if opened else "")


def _raise(message: str) -> None:
    raise TemplateError(message)


def _no_clock(form: str) -> str:
    raise TemplateError(f"it writes the date ({form}): a prompt would change from day to day")
