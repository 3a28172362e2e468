"""Messages → spans: text with a loss mask, and slots for pictures.

The mask is built from the messages themselves: every turn is tokenised piece by piece, so what is trained never
depends on finding a string again in tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mm15.base.catalogue import did_you_mean
from mm15.base.config import Strict
from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import ImagePart, Message, Region, RegionPart, Role, TextPart
from mm15.text.tokenizer import Tokenizer


class Turn(Strict):
    """What stands around the content of a turn. Only ``end`` is trained, together with the content it ends."""

    prefix: str = ""
    end: str = ""
    after: str = ""


class TemplateConfig(Strict):
    """The strings of a chat template; names of special tokens in them mean these tokens.

    The paper prints no template; the default is our own, ``CHATML`` is that of many open language models.
    ``document`` stands around pre-training text, ``bos`` once at the start of every sample (may be empty). A template
    without a ``system`` turn skips samples that have one.
    """

    bos: str = "<|bos|>"
    image: str = "<|image|>"
    system: Turn | None = Turn(prefix="<|system|>")
    user: Turn = Turn(prefix="<|user|>")
    assistant: Turn = Turn(prefix="<|assistant|>", end="<|end|>")
    document: Turn = Turn(end="<|end|>")

    def turn(self, role: Role) -> Turn:
        """The strings around a turn of this role.

        Raises:
            SkipSample: the template has no such turn.
        """
        turn: Turn | None = getattr(self, role.value)
        if turn is None:
            raise SkipSample(
                f"the model's chat template has no {role} turn; take the turn out, or train another template"
            )
        return turn

    @property
    def strings(self) -> dict[str, str]:
        """Every string with its dotted path, empty ones left out."""
        known = [role for role in Role if getattr(self, role.value) is not None]
        turns = {f"{role}.{name}": text for role in known for name, text in self.turn(role).model_dump().items()}
        return {path: text for path, text in ({"bos": self.bos, "image": self.image} | turns).items() if text}


SPECIALS = ("<|bos|>", "<|image|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
"""The special tokens of the default template."""


def _chatml(role: str) -> Turn:
    return Turn(prefix=f"<|im_start|>{role}\n", end="<|im_end|>", after="\n")


CHATML = TemplateConfig(
    bos="",
    image="<|image_pad|>",
    system=_chatml("system"),
    user=_chatml("user"),
    assistant=_chatml("assistant"),
    document=Turn(end="<|endoftext|>"),
)


@dataclass(frozen=True, slots=True)
class TextSpan:
    """Tokens of text, and whether the model learns to say them."""

    ids: tuple[int, ...]
    trained: bool


@dataclass(frozen=True, slots=True)
class ImageSpan:
    """The place of picture number ``image`` of the prompt, counted from 0; every frame of a clip is a picture."""

    image: int


Span = TextSpan | ImageSpan


def check_template(template: TemplateConfig, tokenizer: Tokenizer) -> None:
    """See that the tokenizer has what the template names.

    Raises:
        ConfigError: with every string that must be one special token and is not, and every unknown ``<|name|>``.
    """
    problems = []
    strings = template.strings
    single = ["image", "assistant.end", "document.end"] + (["bos"] if template.bos else [])
    for path in single:
        if strings.get(path) not in tokenizer.specials:
            hint = did_you_mean(strings.get(path, ""), tokenizer.specials)
            problems.append(f"{path}: '{strings.get(path, '')}' must be one special token of the tokenizer{hint}")
    for path, text in strings.items():
        for name in re.findall(r"<\|[^|<>\s]*\|>", text):
            if path not in single and name not in tokenizer.specials:
                hint = did_you_mean(name, tokenizer.specials)
                problems.append(f"{path}: the tokenizer has no special token '{name}'{hint}")
    if problems:
        raise ConfigError(problems, "template")


def asked(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages up to the last question, or up to the last document, which is then to be continued.

    Raises:
        SkipSample: there is neither.
    """
    for end in range(len(messages), 0, -1):
        if messages[end - 1].role in (Role.USER, Role.DOCUMENT):
            return tuple(messages[:end])
    raise SkipSample("there is no user turn to answer")


def layout(
    messages: Sequence[Message],
    template: TemplateConfig,
    tokenizer: Tokenizer,
    write_region: Callable[[Region], str],
    answering: bool = False,
) -> list[Span]:
    """Lay messages out as spans.

    Text between two pictures is tokenised in one piece, however many parts it came in. A turn with ``trained`` has its
    content and its end token trained; what else the template writes is not.

    Args:
        write_region: the coordinate text of a region, which the picture's size decides.
        answering: keep only what ``asked`` keeps, train on nothing, and stop where the model is to speak: after the
            assistant prefix, or inside the open document.

    Raises:
        SkipSample: nothing to train on, a trained turn without text, no question, or unwritable text.
    """
    if answering:
        messages = asked(messages)
    elif not any(message.trained for message in messages):
        raise SkipSample("no turn is trained on; mark an assistant turn or a document as trained")
    spans: list[Span] = []
    pictures = 0

    def write(ids: Sequence[int], trained: bool = False) -> None:
        if ids:
            spans.append(TextSpan(tuple(ids), trained))

    write(tokenizer.encode_trusted(template.bos))
    for number, message in enumerate(messages):
        trained = message.trained and not answering
        turn = template.turn(message.role)
        write(tokenizer.encode_trusted(turn.prefix))
        runs = _runs(message, write_region)
        if trained and not any(run and not run.isspace() for run in runs):
            raise SkipSample(f"turn {number} ({message.role}) is trained on but has no text")
        for index, run in enumerate(runs):
            if index:
                spans.append(ImageSpan(pictures))
                pictures += 1
            write(tokenizer.encode(run), trained)
        if answering and message.role is Role.DOCUMENT and number == len(messages) - 1:
            return spans
        write(tokenizer.encode_trusted(turn.end), trained)
        write(tokenizer.encode_trusted(turn.after))
    if answering:
        write(tokenizer.encode_trusted(template.assistant.prefix))
    return spans


def _runs(message: Message, write_region: Callable[[Region], str]) -> list[str]:
    """The text before, between and after the pictures of a message: one run more than there are pictures."""
    runs = [""]
    for part in message.parts:
        if isinstance(part, TextPart):
            runs[-1] += part.text
        elif isinstance(part, RegionPart):
            runs[-1] += write_region(part.region)
        else:
            runs += [""] * (1 if isinstance(part, ImagePart) else part.frames)
    return runs
