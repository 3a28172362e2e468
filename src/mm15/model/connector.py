"""Connectors: the patches of one tile become a fixed number of decoder inputs.

C-Abstractor: Honeybee (arXiv 2312.06742, Apache-2.0 reference code), the connector of MM1 and MM1.5.

Legend: N tiles, P patches, M tokens per tile, H W rows and columns of the patch grid, C channels, D decoder width.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm15.model.attention import attend
from mm15.model.layers import LayerNorm, Leaf, Linear, Table
from mm15.model.sizes import ConnectorConfig

PRE_NORM_EPS = 1e-6
LN2D_EPS = 1e-5
"""The reference's stages make their norms through a factory whose default differs from LayerNorm2d's own 1e-6."""


class DepthwiseConv(Leaf):
    """3 × 3 convolution of every channel by itself, channels last, zero padding 1, no bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 3, 3))

    def start(self, generator: torch.Generator) -> None:
        self.weight.normal_(0.0, 1 / 3, generator=generator)

    def forward(self, x_NHWC: Tensor) -> Tensor:
        weight = self.weight.to(x_NHWC.dtype)
        return F.conv2d(x_NHWC.permute(0, 3, 1, 2), weight, padding=1, groups=len(weight)).permute(0, 2, 3, 1)


class Bottleneck(nn.Module):
    """RegNet bottleneck, ratio 1, group size 1, squeeze-excite 0.25 of the block's *input* width.

    SiLU(main + skip); main = 1×1, depthwise 3×3, squeeze-excite, 1×1, each convolution followed by a layer norm over
    channels. Written channels last, where a 1×1 convolution is a linear layer.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv1 = Linear(inputs, width, bias=False)
        self.norm1 = LayerNorm(width, LN2D_EPS)
        self.conv2 = DepthwiseConv(width)
        self.norm2 = LayerNorm(width, LN2D_EPS)
        self.squeeze = Linear(width, round(inputs * 0.25))
        self.excite = Linear(round(inputs * 0.25), width)
        self.conv3 = Linear(width, width, bias=False)
        self.norm3 = LayerNorm(width, LN2D_EPS)
        self.skip = Linear(inputs, width, bias=False) if inputs != width else None
        self.skip_norm = LayerNorm(width, LN2D_EPS) if inputs != width else None

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
        widths = [inputs] + [outputs] * depth
        self.layers = nn.ModuleList(Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for index, layer in enumerate(self.layers):
            x = layer(F.silu(x) if index else x)
        return x


class CAbstractor(nn.Module):
    """Bottlenecks, adaptive average pooling to √M × √M, bottlenecks, read-out MLP.

    With depth 0 the stages vanish and pooling + MLP remain. Squeeze-excite looks at a whole tile, so tiles are never
    stitched together before this module.
    """

    def __init__(self, config: ConnectorConfig, inputs: int, grid: int, outputs: int) -> None:
        super().__init__()
        self.grid, self.pooled = grid, math.isqrt(config.tokens)
        self.pre_norm = LayerNorm(inputs, PRE_NORM_EPS) if config.pre_norm else None
        self.positions = Table(grid**2, inputs)
        widths = [inputs] + [config.hidden] * (2 * config.depth)
        blocks = [Bottleneck(a, b) for a, b in itertools.pairwise(widths)]
        self.stage1 = nn.ModuleList(blocks[: config.depth])
        self.stage2 = nn.ModuleList(blocks[config.depth :])
        self.read_out = ReadOut(widths[-1], outputs, config.mlp_depth)

    def forward(self, x_NPC: Tensor) -> Tensor:
        """[N, P, C] → [N, M, D]."""
        if self.pre_norm is not None:
            x_NPC = self.pre_norm(x_NPC)
        x_NPC = x_NPC + self.positions.weight.to(x_NPC.dtype)
        x_NHWC = x_NPC.unflatten(1, (self.grid, self.grid))
        for block in self.stage1:
            x_NHWC = block(x_NHWC)
        x_NHWC = adaptive_pool(x_NHWC, self.pooled)
        for block in self.stage2:
            x_NHWC = block(x_NHWC)
        return self.read_out(x_NHWC.flatten(1, 2))


class AveragePool(nn.Module):
    """Adaptive average pooling and a read-out MLP (MM1's ablation, arXiv 2403.09611)."""

    def __init__(self, config: ConnectorConfig, inputs: int, grid: int, outputs: int) -> None:
        super().__init__()
        self.grid, self.pooled = grid, math.isqrt(config.tokens)
        self.read_out = ReadOut(inputs, outputs, config.mlp_depth)

    def forward(self, x_NPC: Tensor) -> Tensor:
        """[N, P, C] → [N, M, D]."""
        return self.read_out(adaptive_pool(x_NPC.unflatten(1, (self.grid, self.grid)), self.pooled).flatten(1, 2))


class AttentionPool(nn.Module):
    """M learned queries attend to a tile's patches (MM1's ablation, arXiv 2403.09611)."""

    def __init__(self, config: ConnectorConfig, inputs: int, grid: int, outputs: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm = LayerNorm(inputs, PRE_NORM_EPS)
        self.positions = Table(grid**2, inputs)
        self.queries = Table(config.tokens, config.hidden, std=1.0)
        self.key_value = Linear(inputs, (config.hidden, config.hidden))
        self.read_out = ReadOut(config.hidden, outputs, config.mlp_depth)

    def forward(self, x_NPC: Tensor) -> Tensor:
        """[N, P, C] → [N, M, D]."""
        x_NPC = self.norm(x_NPC) + self.positions.weight.to(x_NPC.dtype)
        keys, values = self.key_value(x_NPC).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries = self.queries.weight.to(x_NPC.dtype).unflatten(-1, (self.heads, -1)).transpose(0, 1)
        pooled = attend(queries.expand(len(x_NPC), -1, -1, -1), keys, values)
        return self.read_out(pooled.transpose(1, 2).flatten(2))


class PatchMLP(nn.Module):
    """Two linear layers with GELU between them, patch by patch (LLaVA-1.5, arXiv 2310.03744): M = P.

    Of the connectors that the public type ``llava`` knows this is the one; its weights go there unchanged.
    """

    def __init__(self, config: ConnectorConfig, inputs: int, grid: int, outputs: int) -> None:
        super().__init__()
        if config.tokens != grid**2:
            raise ValueError(
                f"a connector 'mlp' over {grid} x {grid} patches has {grid**2} tokens, not {config.tokens}"
            )
        self.first = Linear(inputs, outputs)
        self.second = Linear(outputs, outputs)

    def forward(self, x_NPC: Tensor) -> Tensor:
        """[N, P, C] → [N, P, D]."""
        return self.second(F.gelu(self.first(x_NPC)))


class PixelShuffle(nn.Module):
    """Squares of s × s patches side by side in one vector, and one linear layer without bias (Idefics3, arXiv
    2408.12637): M = P / s².

    The vector holds the square's patches row by row, each with all of its channels; the public type ``idefics3`` lays
    them out in the same order.
    """

    def __init__(self, config: ConnectorConfig, inputs: int, grid: int, outputs: int) -> None:
        super().__init__()
        side = math.isqrt(config.tokens)
        if grid % side:
            raise ValueError(
                f"a connector 'pixel-shuffle' cannot make {side} x {side} tokens of {grid} x {grid} patches"
            )
        self.grid, self.scale = grid, grid // side
        self.projection = Linear(inputs * self.scale**2, outputs, bias=False)

    def forward(self, x_NPC: Tensor) -> Tensor:
        """[N, P, C] → [N, M, D]."""
        side, scale = self.grid // self.scale, self.scale
        x_NHsWsC = x_NPC.unflatten(1, (side, scale, side, scale))
        return self.projection(x_NHsWsC.transpose(2, 3).flatten(3).flatten(1, 2))


Connector = CAbstractor | AveragePool | AttentionPool | PatchMLP | PixelShuffle


def build_connector(config: ConnectorConfig, inputs: int, grid: int, outputs: int) -> Connector:
    """The connector of a config.

    Args:
        inputs: encoder width.
        grid: patches along one side of a tile.
        outputs: decoder width.
    """
    kinds = {
        "c-abstractor": CAbstractor,
        "average": AveragePool,
        "attention": AttentionPool,
        "mlp": PatchMLP,
        "pixel-shuffle": PixelShuffle,
    }
    return kinds[config.kind](config, inputs, grid, outputs)


def adaptive_pool(x_NHWC: Tensor, size: int) -> Tensor:
    """Mean over bins: bin k covers rows floor(k · H / size) to ceil((k + 1) · H / size) - 1, and columns likewise."""
    return F.adaptive_avg_pool2d(x_NHWC.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
