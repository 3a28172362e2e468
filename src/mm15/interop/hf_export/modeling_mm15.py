"""An exported MM1.5 model (arXiv 2409.20566): encoder and decoder of transformers, the connector between them.

Legend: N tiles, P patches, M tokens per tile, H W rows and columns of the patch grid, C channels, D decoder width.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel
from transformers.generation.utils import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel

from .configuration_mm15 import MM15Config


class Norm2d(nn.LayerNorm):
    """Layer norm over channels, channels last."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-5)


class DepthwiseConv(nn.Conv2d):
    """3 x 3 convolution of every channel by itself, channels last."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, padding=1, groups=width, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Bottleneck(nn.Module):
    """RegNet bottleneck, ratio 1, group size 1, squeeze-excite 0.25 of the block's input width."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Linear(inputs, width, bias=False)
        self.norm1 = Norm2d(width)
        self.conv2 = DepthwiseConv(width)
        self.norm2 = Norm2d(width)
        self.squeeze = nn.Linear(width, round(inputs * 0.25))
        self.excite = nn.Linear(round(inputs * 0.25), width)
        self.conv3 = nn.Linear(width, width, bias=False)
        self.norm3 = Norm2d(width)
        self.skip = nn.Linear(inputs, width, bias=False) if inputs != width else None
        self.skip_norm = Norm2d(width) if inputs != width else None

    def forward(self, x_NHWC: Tensor) -> Tensor:
        main = F.silu(self.norm1(self.conv1(x_NHWC)))
        main = F.silu(self.norm2(self.conv2(main)))
        gate_N11C = torch.sigmoid(self.excite(F.silu(self.squeeze(main.mean((1, 2), keepdim=True)))))
        main = self.norm3(self.conv3(main * gate_N11C))
        skip = x_NHWC if self.skip is None or self.skip_norm is None else self.skip_norm(self.skip(x_NHWC))
        return F.silu(main + skip)


class ReadOut(nn.Module):
    """``depth`` linear layers with SiLU between them."""

    def __init__(self, inputs: int, outputs: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inputs if k == 0 else outputs, outputs) for k in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for index, layer in enumerate(self.layers):
            x = layer(F.silu(x) if index else x)
        return x


class CAbstractor(nn.Module):
    """Bottlenecks, adaptive average pooling, bottlenecks, read-out (Honeybee, arXiv 2312.06742)."""

    def __init__(self, sizes: dict[str, Any], inputs: int, grid: int, outputs: int) -> None:
        super().__init__()
        self.grid, self.pooled, depth = grid, math.isqrt(sizes["tokens"]), sizes["depth"]
        self.pre_norm = nn.LayerNorm(inputs, eps=1e-6) if sizes["pre_norm"] else None
        self.positions = nn.Embedding(grid**2, inputs)
        widths = [inputs] + [sizes["hidden"]] * (2 * depth)
        blocks = [Bottleneck(a, b) for a, b in itertools.pairwise(widths)]
        self.stage1 = nn.ModuleList(blocks[:depth])
        self.stage2 = nn.ModuleList(blocks[depth:])
        self.read_out = ReadOut(widths[-1], outputs, sizes["mlp_depth"])

    def forward(self, x_NPC: Tensor) -> Tensor:
        if self.pre_norm is not None:
            x_NPC = self.pre_norm(x_NPC)
        x_NHWC = (x_NPC + self.positions.weight).unflatten(1, (self.grid, self.grid))
        for block in self.stage1:
            x_NHWC = block(x_NHWC)
        x_NHWC = pool(x_NHWC, self.pooled)
        for block in self.stage2:
            x_NHWC = block(x_NHWC)
        return self.read_out(x_NHWC.flatten(1, 2))


class AveragePool(nn.Module):
    """Adaptive average pooling and a read-out."""

    def __init__(self, sizes: dict[str, Any], inputs: int, grid: int, outputs: int) -> None:
        super().__init__()
        self.grid, self.pooled = grid, math.isqrt(sizes["tokens"])
        self.read_out = ReadOut(inputs, outputs, sizes["mlp_depth"])

    def forward(self, x_NPC: Tensor) -> Tensor:
        return self.read_out(pool(x_NPC.unflatten(1, (self.grid, self.grid)), self.pooled).flatten(1, 2))


class AttentionPool(nn.Module):
    """Learned queries attend to the patches of a tile."""

    def __init__(self, sizes: dict[str, Any], inputs: int, grid: int, outputs: int) -> None:
        super().__init__()
        self.heads, hidden = sizes["heads"], sizes["hidden"]
        self.norm = nn.LayerNorm(inputs, eps=1e-6)
        self.positions = nn.Embedding(grid**2, inputs)
        self.queries = nn.Embedding(sizes["tokens"], hidden)
        self.key_value = nn.Linear(inputs, 2 * hidden)
        self.read_out = ReadOut(hidden, outputs, sizes["mlp_depth"])

    def forward(self, x_NPC: Tensor) -> Tensor:
        x_NPC = self.norm(x_NPC) + self.positions.weight
        keys, values = self.key_value(x_NPC).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries = self.queries.weight.unflatten(-1, (self.heads, -1)).transpose(0, 1)
        pooled = F.scaled_dot_product_attention(queries.expand(len(x_NPC), -1, -1, -1), keys, values)
        return self.read_out(pooled.transpose(1, 2).flatten(2))


class PatchMLP(nn.Module):
    """Two linear layers with GELU between them, patch by patch."""

    def __init__(self, sizes: dict[str, Any], inputs: int, grid: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, outputs)
        self.second = nn.Linear(outputs, outputs)

    def forward(self, x_NPC: Tensor) -> Tensor:
        return self.second(F.gelu(self.first(x_NPC)))


class PixelShuffle(nn.Module):
    """Squares of patches side by side in one vector, and one linear layer."""

    def __init__(self, sizes: dict[str, Any], inputs: int, grid: int, outputs: int) -> None:
        super().__init__()
        self.side = math.isqrt(sizes["tokens"])
        self.scale = grid // self.side
        self.projection = nn.Linear(inputs * self.scale**2, outputs, bias=False)

    def forward(self, x_NPC: Tensor) -> Tensor:
        x = x_NPC.unflatten(1, (self.side, self.scale, self.side, self.scale))
        return self.projection(x.transpose(2, 3).flatten(3).flatten(1, 2))


CONNECTORS = {
    "c-abstractor": CAbstractor,
    "average": AveragePool,
    "attention": AttentionPool,
    "mlp": PatchMLP,
    "pixel-shuffle": PixelShuffle,
}


def pool(x_NHWC: Tensor, size: int) -> Tensor:
    """Adaptive average pooling, channels last."""
    return F.adaptive_avg_pool2d(x_NHWC.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)


class MM15PreTrainedModel(PreTrainedModel):
    """What both classes share."""

    config_class = MM15Config
    base_model_prefix = "model"
    input_modalities: Any = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True


class MM15Model(MM15PreTrainedModel):
    """Encoder, connector and decoder without the head."""

    def __init__(self, config: MM15Config) -> None:
        super().__init__(config)
        vision = config.vision_config
        self.vision_tower = AutoModel.from_config(vision)
        self.has_class_token = vision.model_type == "clip_vision_model"
        grid = vision.image_size // vision.patch_size
        connector = CONNECTORS[str(config.connector["kind"])]
        width = config.text_config.hidden_size
        self.multi_modal_projector = connector(config.connector, vision.hidden_size, grid, width)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Normalised tiles [N, 3, H, W] → ``pooler_output`` [N, M, D]."""
        kwargs.pop("return_dict", None)
        dtype = next(self.multi_modal_projector.parameters()).dtype
        features = self.vision_tower(pixel_values.to(dtype), return_dict=True, **kwargs).last_hidden_state
        patches_NPC = features[:, 1:] if self.has_class_token else features
        tokens_NMD = self.multi_modal_projector(patches_NPC)
        return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=tokens_NMD)

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        mm_token_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Hidden states; the cache travels in ``kwargs`` under whatever name the installed release gives it.

        Raises:
            ValueError: not exactly one of ``input_ids`` and ``inputs_embeds``; image tokens and features differ.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        embed = self.get_input_embeddings()
        embeds: Tensor = embed(input_ids) if inputs_embeds is None else inputs_embeds
        if pixel_values is not None:
            features = self.get_image_features(pixel_values).pooler_output
            assert features is not None, "always set"
            features = features.flatten(0, 1).to(embeds.device, embeds.dtype)
            if input_ids is None:
                image = embed(torch.tensor(self.config.image_token_id, device=embeds.device))
                is_image = (embeds == image).all(-1)
            else:
                is_image = input_ids == self.config.image_token_id
            if int(is_image.sum()) != len(features):
                raise ValueError(f"{int(is_image.sum())} image tokens in the prompt, {len(features)} image features")
            embeds = embeds.masked_scatter(is_image[..., None], features)
        kwargs.pop("return_dict", None)
        return self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=embeds,
            return_dict=True,
            **kwargs,
        )


class MM15ForConditionalGeneration(MM15PreTrainedModel, GenerationMixin):
    """The whole model."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012
    _tp_plan = {"lm_head": "colwise_gather_output"}  # noqa: RUF012

    def __init__(self, config: MM15Config) -> None:
        super().__init__(config)
        self.model = MM15Model(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """See ``MM15Model.get_image_features``."""
        return self.model.get_image_features(pixel_values, **kwargs)

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [B, T, V], or of the last ``logits_to_keep`` positions; the loss where there are ``labels``."""
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=logits.shape[-1])
        rest = {name: value for name, value in outputs.items() if name != "last_hidden_state"}
        return CausalLMOutputWithPast(loss=loss, logits=logits, **rest)


__all__ = ["MM15ForConditionalGeneration", "MM15Model", "MM15PreTrainedModel"]
