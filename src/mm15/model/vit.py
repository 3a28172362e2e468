"""Vision transformer over square tiles: CLIP and SigLIP layouts in one module.

Legend: N tiles, C channels, H W pixels, P patches (and a class token inside), D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm15.model.attention import attend
from mm15.model.layers import GridTable, LayerNorm, Linear, Table, activate
from mm15.model.sizes import VisionConfig


class VisionBlock(nn.Module):
    """Pre-norm transformer block with full attention inside a tile."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, residual_gain = config.width, (2 * config.layers) ** -0.5
        self.heads = config.heads
        self.activation = config.activation
        self.attention_norm = LayerNorm(width, config.norm_eps)
        self.qkv = Linear(width, (width, width, width))
        self.out = Linear(width, width, gain=residual_gain)
        self.mlp_norm = LayerNorm(width, config.norm_eps)
        self.up = Linear(width, config.mlp_width)
        self.down = Linear(config.mlp_width, width, gain=residual_gain)

    def forward(self, x_NPD: Tensor) -> Tensor:
        num_tiles, length, width = x_NPD.shape
        qkv = self.qkv(self.attention_norm(x_NPD)).view(num_tiles, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        x_NPD = x_NPD + self.out(attend(q, k, v).transpose(1, 2).reshape(num_tiles, length, width))
        return x_NPD + self.down(activate(self.up(self.mlp_norm(x_NPD)), self.activation))


class VisionTransformer(nn.Module):
    """Tiles in, patch features out: the last layer's patches, class token dropped.

    Tiles are square, so a tile is one sequence of ``config.num_patches`` and a batch of tiles needs no mask.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch = Linear(3 * config.patch_size**2, config.width, bias=config.patch_bias)
        self.class_token = Table(1, config.width) if config.class_token else None
        self.positions = GridTable(config.grid, config.width, front=int(config.class_token))
        self.pre_norm = LayerNorm(config.width, config.norm_eps) if config.pre_norm else None
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.layers))
        self.final_norm = LayerNorm(config.width, config.norm_eps) if config.final_norm else None

    def forward(self, tiles_NCHW: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Patch features [N, P, D] in ``dtype``, row-major over the tile.

        Args:
            tiles_NCHW: uint8 pixels, normalised here; or floats, taken as already normalised.
            dtype: of the computation; parameters keep theirs.

        Raises:
            ValueError: the tiles are not [N, 3, image_size, image_size].
        """
        size = self.config.image_size
        if tiles_NCHW.shape[1:] != (3, size, size):
            raise ValueError(f"tiles {tuple(tiles_NCHW.shape)} must be [N, 3, {size}, {size}] for this encoder")
        pixels_NCHW = normalise(tiles_NCHW, self.config.mean, self.config.std)
        x_NPD = self.patch(patchify(pixels_NCHW.to(dtype), self.config.patch_size))
        if self.class_token is not None:
            class_N1D = self.class_token.weight.to(dtype).expand(len(x_NPD), 1, -1)
            x_NPD = torch.cat([class_N1D, x_NPD], dim=1)
        x_NPD = x_NPD + self.positions.weight.to(dtype)
        if self.pre_norm is not None:
            x_NPD = self.pre_norm(x_NPD)
        for block in self.blocks:
            x_NPD = block(x_NPD)
        if self.class_token is not None:
            x_NPD = x_NPD[:, 1:]
        return x_NPD if self.final_norm is None else self.final_norm(x_NPD)


def normalise(tiles_NCHW: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 → (x / 255 - mean) / std per channel in fp32; floats pass."""
    if tiles_NCHW.dtype != torch.uint8:
        return tiles_NCHW
    mean_C11 = 255 * torch.tensor(mean, device=tiles_NCHW.device)[:, None, None]
    std_C11 = 255 * torch.tensor(std, device=tiles_NCHW.device)[:, None, None]
    pixels_NCHW = torch.empty(tiles_NCHW.shape, device=tiles_NCHW.device)
    # A processor takes tile by tile: a tile stays in its cache between the steps.
    step = 1 if tiles_NCHW.device.type == "cpu" else max(len(tiles_NCHW), 1)
    for pixels, tiles in zip(pixels_NCHW.split(step), tiles_NCHW.split(step), strict=True):
        pixels.copy_(tiles).sub_(mean_C11).div_(std_C11)
    return pixels_NCHW


def patchify(tiles_NCHW: Tensor, patch: int) -> Tensor:
    """[N, C, H, W] → [N, P, C · patch²], row-major: a linear layer over it equals the strided convolution."""
    num_tiles, channels, height, width = tiles_NCHW.shape
    rows, columns = height // patch, width // patch
    grid = tiles_NCHW.view(num_tiles, channels, rows, patch, columns, patch)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(num_tiles, rows * columns, channels * patch**2)


def resize_positions(table: Tensor, old_grid: int, new_grid: int) -> Tensor:
    """Position rows of an encoder or connector for another grid, bicubic in fp32.

    Rows in front of the ``old_grid²`` patch rows (a class token) are kept as they are. Corners are not aligned;
    antialiasing is on only when shrinking.

    Args:
        table: [rows + old_grid², D].

    Returns:
        [rows + new_grid², D] in the table's dtype.

    Raises:
        ValueError: the table has fewer than ``old_grid²`` rows, or more than one row in front.
    """
    front = len(table) - old_grid**2
    if front not in (0, 1):
        raise ValueError(
            f"a table of {len(table)} rows is not a {old_grid} x {old_grid} grid with or without a class row"
        )
    image_1DHW = table[front:].float().T.reshape(1, -1, old_grid, old_grid)
    resized = F.interpolate(
        image_1DHW, size=(new_grid, new_grid), mode="bicubic", align_corners=False, antialias=new_grid < old_grid
    )
    return torch.cat([table[:front], resized.flatten(2)[0].T.to(table.dtype)])
