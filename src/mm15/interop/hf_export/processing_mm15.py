"""Text and pictures → what the model reads, token for token as the model was trained.

Text between two pictures, the strings of the chat template and the text that announces a tile are tokenised apart, so
that no token ever spans two of them; text that a user typed is never a special token.
"""

from __future__ import annotations

import copy
import json
import re
from itertools import pairwise
from typing import Any

import tokenizers
import torch
from transformers.image_processing_base import BatchFeature
from transformers.processing_utils import MultiModalData, ProcessorMixin
from transformers.utils import logging

from .image_processing_mm15 import flat_pictures

logger = logging.get_logger(__name__)

APART = "\ue000\ue001"
"""Put inside a special token's name where a user typed it; taken out again before the text is tokenised."""

KNOWN = {
    "add_special_tokens",
    "max_length",
    "pad_to_multiple_of",
    "padding",
    "padding_side",
    "return_attention_mask",
    "return_mm_token_type_ids",
    "return_offsets_mapping",
    "return_tensors",
    "return_text_replacement_offsets",
    "truncation",
}


class MM15Processor(ProcessorMixin):
    """Image processor, tokenizer, chat template.

    Args:
        image_token: the special token that stands for a picture in text, and for one feature of a tile afterwards.
        tokens_per_tile: features of a tile.
        template_parts: the strings of the chat template, each as the pieces that are tokenised apart.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        image_token: str = "<|image|>",
        tokens_per_tile: int = 144,
        template_parts: list[list[str]] | None = None,
        chat_template: Any = None,
        **kwargs: Any,
    ) -> None:
        self.image_token = image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        self.tokens_per_tile = tokens_per_tile
        self.template_parts = [list(parts) for parts in template_parts or []]
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self._prepare()

    def _prepare(self) -> None:
        full = tokenizers.Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        content = json.loads(full.to_str()) | {"truncation": None, "padding": None, "post_processor": None}
        self._full = tokenizers.Tokenizer.from_str(json.dumps(content))
        self._text = tokenizers.Tokenizer.from_str(json.dumps(content | {"added_tokens": []}))
        added = self._full.get_added_tokens_decoder()
        specials = {
            token.content: index
            for index, token in added.items()
            if token.special or len(token.content) > 1 or self._text.token_to_id(token.content) != index
        }
        self._forbidden = frozenset(specials.values())
        self._parts = {"".join(parts): parts for parts in self.template_parts}
        self._parts |= {name: [name] for name in specials if name not in self._parts}
        names = sorted(self._parts, key=len, reverse=True)
        self._trusted = re.compile("|".join(map(re.escape, names)) or r"(?!)")
        self._special_names = re.compile("|".join(map(re.escape, sorted(specials, key=len, reverse=True))) or r"(?!)")

    def __deepcopy__(self, memo: dict[int, Any]) -> MM15Processor:
        image_processor = copy.deepcopy(self.image_processor, memo)
        tokenizer = copy.deepcopy(self.tokenizer, memo)
        return type(self)(
            image_processor,
            tokenizer,
            self.image_token,
            self.tokens_per_tile,
            self.template_parts,
            self.chat_template,
        )

    def to_dict(self) -> dict[str, Any]:
        """What ``save_pretrained`` writes."""
        kept = {"image_token", "tokens_per_tile", "template_parts", "auto_map"}
        values = {name: copy.deepcopy(value) for name, value in self.__dict__.items() if name in kept}
        return {**values, "image_processor": self.image_processor.to_dict(), "processor_class": type(self).__name__}

    @property
    def unused_input_names(self) -> list[str]:
        """What the image processor tells this class and the model does not take."""
        return ["num_tiles", "image_sizes", "image_places"]

    def apply_chat_template(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, conversation: Any, chat_template: str | None = None, **kwargs: Any
    ) -> Any:
        """As in transformers; where it tokenises, names of special tokens in the conversation are ordinary text.

        Raises:
            ValueError: a text holds the two private characters U+E000 U+E001, which keep these names apart.
        """
        if kwargs.get("tokenize"):
            conversation = self._apart(conversation)
        return super().apply_chat_template(conversation, chat_template, **kwargs)

    def _apart(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._apart(item) for item in value]
        if not isinstance(value, dict):
            return value
        kept = dict(value)
        for key in ("content", "text"):
            if isinstance(kept.get(key), str):
                kept[key] = self._broken(kept[key])
            elif key in kept:
                kept[key] = self._apart(kept[key])
        return kept

    def _broken(self, text: str) -> str:
        if APART in text:
            raise ValueError("a text holds the private characters U+E000 U+E001; take them out")
        while found := self._special_names.search(text):
            text = text[: found.start() + 1] + APART + text[found.start() + 1 :]
        return text

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, images: Any = None, text: Any = None, **kwargs: Any
    ) -> BatchFeature:
        """Token ids, attention mask and normalised tiles.

        Args:
            images: pictures in the order of their image tokens in ``text``.
            text: one prompt or several; each image token stands for a picture.

        Raises:
            ValueError: pictures and image tokens differ in number; truncation, which would cut through a picture.
        """
        options = {**kwargs.pop("common_kwargs", {}), **kwargs.pop("text_kwargs", {}), **kwargs}
        images_kwargs = options.pop("images_kwargs", {})
        if ignored := sorted(name for name in options if name not in KNOWN and options[name] is not None):
            logger.warning_once(f"MM15Processor does not know {', '.join(ignored)} and goes on without")
        if text is None and images is None:
            raise ValueError("give text, images or both")
        prompts = [] if text is None else [text] if isinstance(text, str) else list(text)
        pictures = [] if images is None else flat_pictures(self.image_processor.fetch_images(images))
        counts = [prompt.count(self.image_token) for prompt in prompts]
        if text is not None and sum(counts) != len(pictures):
            raise ValueError(f"{sum(counts)} '{self.image_token}' in the text, but {len(pictures)} pictures")
        if isinstance(options.get("truncation"), str) or options.get("truncation"):
            raise ValueError("truncation would cut through pictures; shorten the conversation instead")
        image_inputs: Any = {}
        replacements: list[str] = []
        if pictures:
            given = pictures if text is not None else images
            image_inputs = self.image_processor(given, counts=counts if text is not None else None, **images_kwargs)
            replacements = [self.replace_image_token(image_inputs, k) for k in range(len(pictures))]
        data = {name: value for name, value in image_inputs.items() if name not in self.unused_input_names}
        if text is None:
            return BatchFeature(data)
        return BatchFeature(self._encoded(prompts, counts, replacements, options) | data)

    def replace_image_token(self, image_inputs: Any, image_idx: int, **kwargs: Any) -> str:
        """The text of a picture: every tile announced, then its image tokens."""
        number, pictures = image_inputs["image_places"][image_idx]
        slots = self.image_processor.slots(*image_inputs["image_sizes"][image_idx], pictures)
        tile = self.image_token * self.tokens_per_tile
        said = self.image_processor.announcements(number, slots)
        return "".join(text + tile for text in said) + self.image_processor.closing()

    def _get_num_multimodal_tokens(self, image_sizes: Any = None, **kwargs: Any) -> MultiModalData:
        """Tokens (announcements included) and tiles of every picture of one conversation, from (height, width)."""
        if image_sizes is None:
            return MultiModalData()
        sizes = [(int(height), int(width)) for height, width in image_sizes]
        tokens, tiles = [], []
        for number, (height, width) in enumerate(sizes):
            slots = self.image_processor.slots(height, width, len(sizes))
            said = [*self.image_processor.announcements(number, slots), self.image_processor.closing()]
            tokens.append(sum(len(self.trusted_ids(text)) for text in said) + len(slots) * self.tokens_per_tile)
            tiles.append(len(slots))
        return MultiModalData(num_image_tokens=tokens, num_image_patches=tiles)

    def _encoded(self, prompts: list[str], counts: list[int], replacements: list[str], options: dict) -> dict:
        rows: list[dict[str, list]] = []
        offsets: list[list[dict]] = []
        waiting = iter(replacements)
        for prompt, count in zip(prompts, counts, strict=True):
            row: dict[str, list] = {"ids": [], "offsets": [], "kinds": []}
            spans: list[dict] = []
            place = start = 0
            for piece in prompt.split(self.image_token):
                self._append(row, piece, place, kind=0)
                place, start = place + len(piece), start + len(piece)
                if len(spans) < count:
                    text = next(waiting)
                    new_span = (place, place + len(text))
                    span = (start, start + len(self.image_token))
                    spans.append(
                        {
                            "type": "image",
                            "span": span,
                            "new_span": new_span,
                            "text": self.image_token,
                            "replacement": text,
                        }
                    )
                    self._append(row, text, place, kind=1)
                    place, start = new_span[1], span[1]
            rows.append(row)
            offsets.append(spans)
        return self._padded(rows, offsets, options)

    def _append(self, row: dict[str, list], text: str, place: int, kind: int) -> None:
        """Tokens of a text whose special tokens and template strings are meant as such."""
        end = 0
        for found in [*self._trusted.finditer(text), None]:
            stop = len(text) if found is None else found.start()
            self._append_plain(row, text[end:stop], place + end, kind)
            if found is None:
                return
            at = found.start()
            for part in self._parts[found.group()]:
                encoding = self._full.encode(part, add_special_tokens=False)
                row["ids"] += encoding.ids
                row["offsets"] += [(place + at + a, place + at + b) for a, b in encoding.offsets]
                row["kinds"] += [kind] * len(encoding.ids)
                at += len(part)
            end = found.end()

    def _append_plain(self, row: dict[str, list], text: str, place: int, kind: int) -> None:
        text = text.replace(APART, "")
        if not text:
            return
        encoding = self._text.encode(text, add_special_tokens=False)
        if self._forbidden.isdisjoint(encoding.ids):
            row["ids"] += encoding.ids
            row["offsets"] += [(place + a, place + b) for a, b in encoding.offsets]
            row["kinds"] += [kind] * len(encoding.ids)
            return
        cuts = {0, len(text)}
        for index, (a, b) in zip(encoding.ids, encoding.offsets, strict=True):
            if index in self._forbidden and b - a < 2:
                raise ValueError(f"the tokenizer can write {text[a:b]!r} only as a special token; take it out")
            if index in self._forbidden:
                cuts.add((a + b) // 2)
        for a, b in pairwise(sorted(cuts)):
            self._append_plain(row, text[a:b], place + a, kind)

    def trusted_ids(self, text: str) -> list[int]:
        """Ids of a text that nobody typed."""
        row: dict[str, list] = {"ids": [], "offsets": [], "kinds": []}
        self._append(row, text, 0, 0)
        return row["ids"]

    def _padded(self, rows: list[dict[str, list]], offsets: list[list[dict]], options: dict) -> dict:
        padding, longest = options.get("padding", False), max((len(row["ids"]) for row in rows), default=0)
        if padding == "max_length":
            longest = max(longest, options.get("max_length") or longest)
        multiple = options.get("pad_to_multiple_of")
        if padding and padding != "do_not_pad" and multiple:
            longest = -(-longest // multiple) * multiple
        pads = padding and padding != "do_not_pad"
        side = options.get("padding_side") or self.tokenizer.padding_side

        def filled(values: list, value: Any) -> list:
            more = [value] * (longest - len(values) if pads else 0)
            return more + values if side == "left" else values + more

        data: dict[str, Any] = {"input_ids": [filled(row["ids"], self.tokenizer.pad_token_id) for row in rows]}
        if options.get("return_attention_mask", True):
            data["attention_mask"] = [filled([1] * len(row["ids"]), 0) for row in rows]
        if options.get("return_mm_token_type_ids"):
            data["mm_token_type_ids"] = [filled(row["kinds"], 0) for row in rows]
        if options.get("return_offsets_mapping"):
            data["offset_mapping"] = [filled(row["offsets"], (0, 0)) for row in rows]
        tensors = options.get("return_tensors")
        if tensors and len({len(ids) for ids in data["input_ids"]}) > 1:
            raise ValueError("prompts of different lengths are no tensor; give padding=True")
        if tensors:
            data = {name: torch.tensor(value) for name, value in data.items()}
        if str(getattr(tensors, "value", tensors)) == "np":
            data = {name: value.numpy() for name, value in data.items()}
        if options.get("return_text_replacement_offsets"):
            data["text_replacement_offsets"] = offsets
        return data


__all__ = ["MM15Processor"]
