"""Other people's encoder and language model, with a connector of ours between them, as a bundle.

The bundle answers nothing sensible about pictures before it is trained: its connector is new.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mm15.base.config import validate, with_changes
from mm15.base.errors import BundleError, ConfigError
from mm15.bundle import load_bundle, save_bundle
from mm15.images.split import SplitPolicy
from mm15.interop.chat_template import (
    base_template,
    begins_with,
    convert_template,
    template_source,
    tokenizer_settings,
)
from mm15.interop.checkpoint import Saved, open_llm, open_vision
from mm15.interop.files import refusal
from mm15.interop.hf_idefics3 import IMAGE
from mm15.interop.hf_idefics3 import SPECIALS as TAG_TOKENS
from mm15.interop.licences import licence_note
from mm15.model.layers import init_weights
from mm15.model.multimodal import MultimodalModel
from mm15.model.resize import with_tile_size
from mm15.model.sizes import ConnectorConfig, DecoderConfig, ModelConfig, VisionConfig
from mm15.model.vit import resize_positions
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import CHATML, SPECIALS, TemplateConfig, Turn
from mm15.text.tokenizer import Tokenizer

TEMPLATES = ("auto", "chatml", "plain")
IMAGE_TOKENS = ("<|image_pad|>", "<|image|>", "<image>")
"""Special tokens that some language models keep for pictures; without one, the default template's is added."""
RESERVED = re.compile(r"<\|reserved_special_token_\d+\|>")
"""Special tokens that Llama 3 keeps for later use; renamed before a row is added to the vocabulary."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """What was made. ``parameters`` counts all; ``notes`` are what was left out, resized or added; ``licences`` one
    line for each folder."""

    folder: str
    vision: str
    llm: str
    tile: int
    parameters: int
    notes: tuple[str, ...]
    licences: tuple[str, ...]


def import_bundle(
    vision: str | Path,
    llm: str | Path,
    out: str | Path,
    connector: str | Path | None = None,
    tile: int | None = None,
    template: str = "auto",
    dtype: str = "float32",
    max_tokens: int = 4096,
    changes: Sequence[str] = (),
    seed: int = 0,
    say: Say = print,
    tags: bool = False,
) -> Imported:
    """Read an encoder's and a language model's folder and write a bundle.

    Args:
        connector: a bundle whose connector is taken; without one, a new one is drawn from ``seed``.
        tile: pixels of a tile's side; another size than the encoder's resizes the position tables once.
        template: ``auto`` converts the model's own (ChatML or plain where it has none), ``chatml`` or ``plain`` (our
            default) are used instead of it.
        dtype: of the written weights: ``float32``, or ``bfloat16`` for half the space.
        max_tokens: longest sample; training recipes state their own.
        changes: ``connector.a=value`` strings for a new connector (``ConnectorConfig``).
        tags: give the tokenizer the tokens that ``export --to idefics3`` needs, and the bundle its rule of splitting.

    Raises:
        BundleError: what is wrong with the folders, all of it at once.
        ConfigError: an argument is wrong, or the chat template cannot be expressed.
    """
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        say(text)

    _check_arguments(template, dtype)
    encoder, decoder, tokenizer = _open(Path(vision), Path(llm))
    for saved in (encoder, decoder):
        if saved.left_out:
            note(f"{saved.folder.name}: {_few(saved.left_out)} left out, no part of the model")
    words = _with_template(Path(llm), tokenizer, template, tags, note)
    config, bridge = _config(encoder.config, decoder.config, words, connector, changes)
    model = _model(config, encoder, decoder, bridge, DTYPES[dtype], seed, note)
    if tile is not None and tile != config.vision.image_size:
        old, new = config.vision.image_size, tile
        model = _resized(model, tile)
        note(f"position tables of encoder and connector resized for {old} -> {new} px tiles (bicubic, fp32)")
    processor = _processor(model.config, words, max_tokens, tags)
    licences = (licence_note(vision), licence_note(llm))
    extra = {
        "imported": {
            "vision": {"folder": encoder.folder.name, "family": encoder.family},
            "llm": {"folder": decoder.folder.name, "family": decoder.family},
            "notes": notes,
            "licences": licences,
        }
    }
    save_bundle(out, model, processor, extra=extra)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Imported(
        str(out), encoder.family, decoder.family, model.config.vision.image_size, parameters, tuple(notes), licences
    )


@dataclass(frozen=True, slots=True)
class Words:
    """A tokenizer that has every token of its template."""

    tokenizer: Tokenizer
    template: TemplateConfig


def _check_arguments(template: str, dtype: str) -> None:
    problems = [
        f"{name}: '{value}' is unknown; known: {', '.join(known)}"
        for name, value, known in (("template", template, TEMPLATES), ("dtype", dtype, tuple(DTYPES)))
        if value not in known
    ]
    if problems:
        raise ConfigError(problems, "import")


def _open(vision: Path, llm: Path) -> tuple[Saved[VisionConfig], Saved[DecoderConfig], Tokenizer]:
    """All three, or everything that is wrong with any of them."""
    problems: list[str] = []

    def attempt(open_it: Callable[[], Any]) -> Any:
        try:
            return open_it()
        except BundleError as error:
            problems.append(str(error))
        return None

    encoder = attempt(lambda: open_vision(vision))
    decoder = attempt(lambda: open_llm(llm))
    tokenizer = attempt(lambda: _tokenizer(llm))
    if problems:
        raise BundleError("\n".join(problems))
    return encoder, decoder, tokenizer


def _tokenizer(llm: Path) -> Tokenizer:
    path = llm / "tokenizer.json"
    if not path.is_file():
        others = [name for name in ("tokenizer.model", "vocab.json", "merges.txt") if (llm / name).is_file()]
        found = f" ({', '.join(others)} is there: save it once as a fast tokenizer with transformers)" if others else ""
        raise BundleError(refusal(llm, [f"tokenizer.json: missing{found}"]))
    return Tokenizer.from_file(path)


def _with_template(llm: Path, tokenizer: Tokenizer, choice: str, tags: bool, note: Say) -> Words:
    known = [name for name in IMAGE_TOKENS if name in tokenizer.specials]
    image = IMAGE if tags else known[0] if known else "<|image|>"
    settings = tokenizer_settings(llm)
    if choice == "auto" and template_source(llm, settings) is not None:
        converted = convert_template(llm, tokenizer, image)
        template = converted.template
        for left_out in converted.notes:
            note(f"chat template: {left_out}")
    else:
        template = base_template(llm, tokenizer, image)
        if choice != "auto":
            turns = CHATML if choice == "chatml" else TemplateConfig()
            end = template.document.end if template.document.end in tokenizer.specials else turns.assistant.end
            bos = begins_with(llm, settings, tokenizer)
            template = turns.model_copy(update={"bos": bos, "image": image, "document": Turn(end=end)})
        told = "ChatML" if template.user == CHATML.user else "our own"
        note(f"chat template: {told}, which the model learns in training")
    wanted = [name for name in (*SPECIALS, "<|im_start|>", "<|im_end|>") if _named(name, template)]
    wanted += TAG_TOKENS if tags else ()
    added = [name for name in wanted if name not in tokenizer.specials]
    if added:
        spare = sorted((name for name in tokenizer.specials if RESERVED.fullmatch(name)), key=tokenizer.special)
        renamed = dict(zip(spare, added, strict=False))
        tokenizer = tokenizer.with_names(renamed).with_specials(added[len(renamed) :])
        for old, new in renamed.items():
            note(f"special token {old} is now {new} = {tokenizer.special(new)}")
        more = ", ".join(f"{name} = {tokenizer.special(name)}" for name in added[len(renamed) :])
        if more:
            note(f"special tokens added: {more}")
    return Words(tokenizer, template)


def _named(name: str, template: TemplateConfig) -> bool:
    return any(name in text for text in template.strings.values())


def _config(
    vision: VisionConfig,
    decoder: DecoderConfig,
    words: Words,
    connector: str | Path | None,
    changes: Sequence[str],
) -> tuple[ModelConfig, MultimodalModel | None]:
    """The whole model's config, and the model whose connector is taken."""
    bridge = None
    if connector is not None:
        bridge = load_bundle(connector).model
        if changes:
            raise ConfigError(["--set changes a new connector; --connector takes one as it is"], "import")
        widths = (bridge.config.vision.width, bridge.config.decoder.width)
        if widths != (vision.width, decoder.width):
            raise ConfigError(
                [f"connector: made for widths {widths}, the folders have {(vision.width, decoder.width)}"], "import"
            )
        middle = bridge.config.connector
    else:
        raw = with_changes({"connector": {"tokens": 144}}, changes)
        if set(raw) != {"connector"}:
            raise ConfigError(
                [f"--set {key}: only connector.* can be set" for key in raw if key != "connector"], "import"
            )
        middle = validate(ConnectorConfig, raw["connector"], "connector")
    rows = max(decoder.vocab_size, words.tokenizer.vocab_size)
    language = decoder.model_copy(update={"vocab_size": rows})
    image = words.tokenizer.special(words.template.image)
    return ModelConfig(vision=vision, connector=middle, decoder=language, image_token=image), bridge


def _model(
    config: ModelConfig,
    encoder: Saved[VisionConfig],
    decoder: Saved[DecoderConfig],
    bridge: MultimodalModel | None,
    dtype: torch.dtype,
    seed: int,
    note: Say,
) -> MultimodalModel:
    with torch.device("meta"):
        model = MultimodalModel(config)
    model.connector.to_empty(device="cpu")
    if bridge is None:
        init_weights(model.connector, seed)
    else:
        state = dict(bridge.connector.state_dict())
        old, new = bridge.config.vision.grid, config.vision.grid
        if old != new and "positions.weight" in state:
            state["positions.weight"] = resize_positions(state["positions.weight"], old, new)
            note(f"position table of the connector resized for grids of {old} -> {new} patches (bicubic, fp32)")
        model.connector.load_state_dict(state)
    model.connector.to(dtype)
    model.vision.load_state_dict(dict(encoder.state(dtype)), strict=True, assign=True)
    state = dict(decoder.state(dtype))
    missing = config.decoder.vocab_size - decoder.config.vocab_size
    if missing > 0:
        for name in ("embedding.weight", "untied_head.weight"):
            if name in state:
                state[name] = _with_rows(state[name], missing)
        note(f"{missing} rows added to the embedding, each the mean of its {decoder.config.vocab_size}")
    model.decoder.load_state_dict(state, strict=True, assign=True)
    return model


def _with_rows(table: Tensor, rows: int) -> Tensor:
    """New words begin as the mean word: far from all, and no louder than any."""
    return torch.cat([table, table.float().mean(0, keepdim=True).to(table.dtype).expand(rows, -1)])


def _resized(model: MultimodalModel, tile: int) -> MultimodalModel:
    try:
        return with_tile_size(model, tile)
    except ValueError as error:
        patch = model.config.vision.patch_size
        raise ConfigError(
            [f"tile: {tile} px is not a multiple of the encoder's patches of {patch} px"], "import"
        ) from error


def _processor(config: ModelConfig, words: Words, max_tokens: int, tags: bool) -> Processor:
    rule = {"mode": "fill", "indicator": "tags"} if tags else {}
    split = validate(SplitPolicy, {"tile": config.vision.image_size, **rule}, "split")
    return Processor(
        ProcessorConfig(
            split=split, tokens_per_tile=config.connector.tokens, template=words.template, max_tokens=max_tokens
        ),
        words.tokenizer,
    )


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{len(names)} tensors ({shown}{', ...' if len(names) > 3 else ''})"
