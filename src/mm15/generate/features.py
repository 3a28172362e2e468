"""What the encoder and connector made of tiles that were seen before.

Legend: N tiles, M tokens per tile, C channels, H W pixels, D width.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import torch
from torch import Tensor

from mm15.model.multimodal import MultimodalModel

FEATURE_BYTES = 256 * 2**20
"""Default memory for features that may be wanted again."""

PATCHES_AT_ONCE = {"cpu": 2_048, "cuda": 65_536}
"""Tiles are encoded so many patches at a time, at least one tile: memory stays bounded whatever comes in at once, and
on a processor activations stay in its cache (a quarter to a third faster than 320 tiles of 64 patches at once)."""


class Features:
    """Features of tiles by the hash of their bytes; those unused for longest go when ``max_bytes`` are full.

    Of one model with fixed weights: make a new one when the weights change.
    """

    def __init__(self, model: MultimodalModel, max_bytes: int = FEATURE_BYTES) -> None:
        self.model, self.max_bytes = model, max_bytes
        self.kept: OrderedDict[bytes, Tensor] = OrderedDict()
        self.bytes = self.encoded = self.reused = 0

    @torch.no_grad()
    def of(self, tiles_NCHW: Tensor) -> Tensor:
        """Decoder inputs of every tile, [N, M, D] with N above 0; each distinct tile is encoded once."""
        tiles_NCHW = tiles_NCHW.cpu().contiguous()
        names = [_name(tile) for tile in tiles_NCHW]
        known: dict[bytes, Tensor] = {}
        for name in names:
            if name in self.kept:
                known[name] = self.kept[name]
                self.kept.move_to_end(name)
        new = {name: place for place, name in reversed([*enumerate(names)]) if name not in known}
        if new:
            device = self.model.decoder.embedding.weight.device
            at_once = max(1, PATCHES_AT_ONCE.get(device.type, 2_048) // self.model.config.vision.num_patches)
            parts = tiles_NCHW[list(new.values())].split(at_once)
            made = [made_MD for part in parts for made_MD in self.model.encode_tiles(part.to(device))]
            for name, made_MD in zip(new, made, strict=True):
                known[name] = made_MD
                self._keep(name, made_MD)
        self.encoded += len(new)
        self.reused += len(names) - len(new)
        return torch.stack([known[name] for name in names])

    def _keep(self, name: bytes, made_MD: Tensor) -> None:
        size = made_MD.nbytes
        if size > self.max_bytes:
            return
        self.kept[name] = made_MD.clone()  # a view would hold on to the whole batch
        self.bytes += size
        while self.bytes > self.max_bytes:
            self.bytes -= self.kept.popitem(last=False)[1].nbytes


def _name(tile_CHW: Tensor) -> bytes:
    told = f"{tile_CHW.dtype} {tuple(tile_CHW.shape)} ".encode()
    return hashlib.blake2b(told + tile_CHW.numpy().tobytes(), digest_size=16).digest()
