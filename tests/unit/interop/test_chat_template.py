"""Chat templates of the hub become strings around turns that write the same text, or are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreign_fixture import QWEN_TEMPLATE, add_tokenizer
from mm15.base.errors import ConfigError
from mm15.interop.chat_template import Converted, base_template, convert_template, laid_out
from mm15.text.template import TemplateConfig, Turn
from mm15.text.tokenizer import Tokenizer

LLAMA3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
    "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
THOUGHT = QWEN_TEMPLATE.replace(
    "'<|im_start|>' + message.role + '\n' + message.content",
    "'<|im_start|>' + message.role + '\n' + ('<think>\n\n</think>\n\n' if loop.last and message.role == 'assistant' "
    "else '') + message.content",
)
ENDS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def convert(folder: Path, template: str, specials: tuple[str, ...], **settings: str) -> Converted:
    add_tokenizer(folder, (*specials, "<|image|>"), template, **settings)
    return convert_template(folder, Tokenizer.from_file(folder / "tokenizer.json"), "<|image|>")


def test_qwen_becomes_chatml_and_tells_of_its_default_system_message(tmp_path):
    made = convert(tmp_path, QWEN_TEMPLATE, ENDS, eos_token="<|im_end|>")
    assert made.template == TemplateConfig(
        bos="",
        image="<|image|>",
        system=Turn(prefix="<|im_start|>system\n", after="<|im_end|>\n"),
        user=Turn(prefix="<|im_start|>user\n", after="<|im_end|>\n"),
        assistant=Turn(prefix="<|im_start|>assistant\n", end="<|im_end|>", after="\n"),
        document=Turn(end="<|endoftext|>"),
    )
    assert len(made.notes) == 1 and "You are Qwen." in made.notes[0]


def test_llama3(tmp_path):
    names = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>")
    made = convert(tmp_path, LLAMA3, names, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")
    assert made.notes == ()
    turns = (("system", "Be brief."), ("user", "Hi?"), ("assistant", "Ho."), ("user", "And?"))
    header = "<|start_header_id|>{}<|end_header_id|>\n\n"
    expected = "<|begin_of_text|>" + "".join(f"{header.format(role)}{text}<|eot_id|>" for role, text in turns)
    assert laid_out(made.template, turns, opened=True) == expected + header.format("assistant")
    assert made.template.document.end == "<|end_of_text|>"


def test_zephyr(tmp_path):
    made = convert(tmp_path, ZEPHYR, ("<s>", "</s>"), bos_token="<s>", eos_token="</s>")
    assert made.template.user == Turn(prefix="<|user|>\n", after="</s>\n")
    assert made.template.assistant.end == "</s>"


def test_mistral_takes_no_system_message_and_loses_a_space(tmp_path):
    made = convert(tmp_path, MISTRAL, ("<s>", "</s>"), bos_token="<s>", eos_token="</s>")
    assert (made.template.bos, made.template.system) == ("<s>", None)
    assert made.template.user == Turn(prefix="[INST] ", after=" [/INST]")
    assert made.template.assistant == Turn(end="</s>")
    assert any("' ' before an answer is left out" in note for note in made.notes)
    assert any("no system message" in note for note in made.notes)


def test_an_empty_thought_before_the_last_answer_is_named(tmp_path):
    made = convert(tmp_path, THOUGHT, ENDS, eos_token="<|im_end|>")
    assert made.template.assistant.prefix == "<|im_start|>assistant\n"
    assert any("empty thought" in note for note in made.notes)


@pytest.mark.parametrize(
    "template, told",
    [
        (QWEN_TEMPLATE.replace("message.content +", "message.content | upper +"), "changes or leaves out the text"),
        (QWEN_TEMPLATE.replace("'<|im_start|>' + message.role", "'#' + loop.index | string"), "announced by"),
        (QWEN_TEMPLATE.replace("<|im_end|>", "END"), "does not begin with a special token"),
        ("{{ strftime_now('%d %b %Y') }}" + QWEN_TEMPLATE, "it writes the date"),
        ("{% for %}", "not a Jinja template"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "it refuses the turns"),
    ],
)
def test_what_strings_cannot_express_is_refused_with_the_way_out(template, told, tmp_path):
    with pytest.raises(ConfigError) as error:
        convert(tmp_path, template, ENDS, eos_token="<|im_end|>")
    assert told in str(error.value)
    assert "--template chatml" in str(error.value)


def test_a_base_model_keeps_its_own_ends_of_documents(tmp_path):
    add_tokenizer(tmp_path, ("<|endoftext|>",), None, eos_token="<|endoftext|>")
    template = base_template(tmp_path, Tokenizer.from_file(tmp_path / "tokenizer.json"), "<|image|>")
    assert template == TemplateConfig(bos="", document=Turn(end="<|endoftext|>"))
