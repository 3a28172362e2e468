"""A tokenizer and a chat template as the files that transformers reads."""

from __future__ import annotations

import json
from typing import Any

from mm15.base.errors import ConfigError
from mm15.base.types import Role
from mm15.text.template import TemplateConfig
from mm15.text.tokenizer import Tokenizer

SPEAKING = (Role.SYSTEM, Role.USER, Role.ASSISTANT)


def jinja_template(template: TemplateConfig) -> str:
    """The chat template as Jinja: what ``text.template.layout`` writes, as one string.

    Content is a string or a list of ``{"type": "text", "text": …}`` and ``{"type": "image"}``.
    """
    cases = []
    for number, role in enumerate(SPEAKING):
        turn = template.turn(role)
        word = "if" if number == 0 else "elif"
        cases.append(
            f"{{%- {word} message['role'] == '{role.value}' -%}}"
            f"{{%- set prefix, ending = {_quoted(turn.prefix)}, {_quoted(turn.end + turn.after)} -%}}"
        )
    return (
        f"{{{{- {_quoted(template.bos)} -}}}}"
        "{%- for message in messages -%}"
        + "".join(cases)
        + "{%- else -%}{{- raise_exception('a role is system, user or assistant') -}}{%- endif -%}"
        "{{- prefix -}}"
        "{%- if message['content'] is string -%}{{- message['content'] -}}"
        "{%- else -%}{%- for part in message['content'] -%}"
        f"{{%- if part['type'] == 'image' -%}}{{{{- {_quoted(template.image)} -}}}}"
        "{%- elif part['type'] == 'text' -%}{{- part['text'] -}}"
        "{%- else -%}{{- raise_exception('a part is text or image') -}}{%- endif -%}"
        "{%- endfor -%}{%- endif -%}"
        "{{- ending -}}"
        "{%- endfor -%}"
        f"{{%- if add_generation_prompt -%}}{{{{- {_quoted(template.assistant.prefix)} -}}}}{{%- endif -%}}"
    )


def template_parts(template: TemplateConfig, tokenizer: Tokenizer) -> list[list[str]]:
    """The template's strings as they are tokenised: the pieces of each stand alone.

    Raises:
        ConfigError: one of them holds no special token, so that in a finished prompt it cannot be told from text.
    """
    strings: list[list[str]] = []
    for role in SPEAKING:
        turn = template.turn(role)
        strings += [[turn.prefix], [piece for piece in (turn.end, turn.after) if piece]]
    parts = [parts for parts in strings if parts and all(parts)]
    problems = [
        f"template: {''.join(texts)!r} holds no special token, so in a finished prompt it cannot be told from what "
        "a user typed; give it one (as in CHATML: '<|im_start|>user\\n')"
        for texts in parts
        if not any(name in "".join(texts) for name in tokenizer.specials)
    ]
    if problems:
        raise ConfigError(problems, "export")
    return parts


def tokenizer_files(tokenizer: Tokenizer, template: TemplateConfig, max_tokens: int) -> dict[str, str]:
    """``tokenizer.json`` (without what would add or cut tokens) and ``tokenizer_config.json``."""
    content = json.loads(tokenizer.source) | {"truncation": None, "padding": None, "post_processor": None}
    end = template.assistant.end
    names = [name for name in tokenizer.specials if name not in (end, template.bos)]
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": template.bos or None,
        "eos_token": end,
        "pad_token": end,
        "unk_token": None,
        "image_token": template.image,
        "extra_special_tokens": {"image_token": template.image},
        "padding_side": "left",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_tokens,
    }
    assert template.image in names, "checked when the processor was made"
    return {
        "tokenizer.json": json.dumps(content, ensure_ascii=False),
        "tokenizer_config.json": json.dumps(config, indent=1, ensure_ascii=False),
    }


def _quoted(text: str) -> str:
    return "'" + text.encode("unicode_escape").decode().replace("'", "\\'") + "'"
