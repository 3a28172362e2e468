"""Configuration of an exported MM1.5 model: encoder and decoder are configurations of their own public types."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig


class MM15Config(PreTrainedConfig):
    """Encoder, connector, decoder.

    Args:
        vision_config: a ``clip_vision_model`` or ``siglip_vision_model``.
        text_config: a decoder that transformers knows.
        connector: ``kind`` (c-abstractor, average, attention, mlp, pixel-shuffle) and its sizes: ``tokens`` per tile,
            ``hidden``, ``depth``, ``mlp_depth``, ``pre_norm``, ``heads``.
        image_token_id: the token whose positions hold features of tiles.
    """

    model_type = "mm15"
    # Without annotation: a configuration of transformers is a dataclass, and this is no field of it.
    sub_configs = {"vision_config": AutoConfig, "text_config": AutoConfig}  # noqa: RUF012  # pyright: ignore

    def __init__(
        self,
        vision_config: Any = None,
        text_config: Any = None,
        connector: dict[str, Any] | None = None,
        image_token_id: int = 0,
        tie_word_embeddings: bool = False,
        **kwargs: Any,
    ) -> None:
        self.vision_config = _made(vision_config, "siglip_vision_model")
        self.text_config = _made(text_config, "llama")
        self.connector = dict(connector or {"kind": "c-abstractor", "tokens": 144})
        self.image_token_id = image_token_id
        super().__init__(**{"tie_word_embeddings": tie_word_embeddings, **kwargs})


def _made(config: Any, default: str) -> Any:
    if isinstance(config, PreTrainedConfig):
        return config
    values = dict(config or {})
    return AutoConfig.for_model(values.pop("model_type", default), **values)


__all__ = ["MM15Config"]
