"""The All mixture of MM1.5 as lengths and tiles: what its data sets hold, drawn from stated distributions.

Nobody ships the mixture, and its pictures are not needed to know what a pack costs: the size of a picture decides its
tiles (``images.split``), and a text has a length. Stated here for every data set: its rows, how many pictures a sample
has, the sizes of its pictures in px (width × height, with their shares, and by how much either side varies), and the
median and the spread (sigma of the logarithm) of the text tokens of a sample, prompts, answers and template together.
Sizes of data sets are the published ones; those of pictures and texts are rounded from the data sets' own papers, cards
and well-known statistics, not counted by us. Categories and ratios are the paper's.

Legend: R rows, 2 = (tokens, tiles).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mm15.base.rng import numpy_rng
from mm15.base.types import Category
from mm15.data.mixture import Group, Mixture, MixtureConfig, Pool
from mm15.images.split import SplitPolicy, tile_layout

TOKENS_PER_TILE = 144
INDICATOR = 7
"""Tokens of "(0,1,2)" where digits and signs are tokens of their own."""
LONGEST = 4096
MOST_IMAGES = 12

Sizes = tuple[tuple[int, int, float], ...]
"""(width, height, share)."""

COCO: Sizes = ((640, 480, 0.62), (480, 640, 0.19), (640, 427, 0.13), (427, 640, 0.04), (640, 640, 0.02))
FLICKR: Sizes = ((500, 375, 0.5), (500, 333, 0.25), (375, 500, 0.15), (333, 500, 0.1))
GENOME: Sizes = ((800, 600, 0.35), (500, 375, 0.25), (640, 480, 0.15), (600, 800, 0.1), (1024, 768, 0.15))
OPEN_IMAGES: Sizes = ((1024, 768, 0.55), (1024, 683, 0.25), (768, 1024, 0.15), (683, 1024, 0.05))
PAGES: Sizes = ((1700, 2200, 0.7), (2200, 1700, 0.1), (1654, 2339, 0.2))
TABLES: Sizes = ((800, 300, 0.3), (800, 800, 0.4), (800, 1800, 0.3))
SCREENS: Sizes = ((1080, 1920, 0.8), (1920, 1080, 0.2))
SITES: Sizes = ((1280, 720, 0.3), (1280, 1400, 0.4), (1280, 2400, 0.3))
FIGURES: Sizes = ((600, 450, 0.4), (450, 300, 0.3), (300, 300, 0.2), (400, 600, 0.1))


class Set(NamedTuple):
    """A data set: rows, picture sizes, variation of a side (sigma of its logarithm), text (median, sigma), pictures per
    sample (number → share)."""

    name: str
    category: str
    rows: int
    sizes: Sizes
    varies: float
    text: tuple[float, float]
    images: tuple[tuple[int, float], ...] = ((1, 1.0),)


PAIRS = ((2, 1.0),)
TRIPLES = ((3, 1.0),)
SEVERAL = ((2, 0.35), (3, 0.3), (4, 0.2), (6, 0.1), (8, 0.05))
SETS = (
    Set("LLaVA conversation", "general", 57_000, COCO, 0.0, (280, 0.4)),
    Set("LLaVA reasoning", "general", 77_000, COCO, 0.0, (230, 0.35)),
    Set("ShareGPT4V", "general", 102_000, COCO, 0.15, (230, 0.35)),
    Set("COCO captions", "general", 83_000, COCO, 0.0, (30, 0.2)),
    Set("VQAv2 and OKVQA", "general", 91_000, COCO, 0.0, (130, 0.5)),
    Set("GQA", "general", 72_000, GENOME, 0.05, (200, 0.5)),
    Set("A-OKVQA", "general", 66_000, COCO, 0.0, (75, 0.3)),
    Set("OCRVQA", "text_rich", 80_000, ((330, 500, 0.8), (400, 500, 0.2)), 0.1, (140, 0.3)),
    Set("SynthDoG", "text_rich", 500_000, ((800, 1100, 0.5), (1100, 800, 0.5)), 0.15, (280, 0.6)),
    Set("TextCaps", "text_rich", 22_000, OPEN_IMAGES, 0.05, (90, 0.4)),
    Set("TextVQA", "text_rich", 35_000, OPEN_IMAGES, 0.05, (40, 0.3)),
    Set("DVQA", "text_rich", 200_000, ((448, 448, 1.0),), 0.0, (110, 0.5)),
    Set("ChartQA", "text_rich", 28_000, ((850, 600, 0.5), (800, 557, 0.3), (310, 420, 0.2)), 0.1, (45, 0.3)),
    Set("DocVQA", "text_rich", 39_000, PAGES, 0.1, (45, 0.3)),
    Set("InfoVQA", "text_rich", 24_000, ((800, 2000, 0.5), (1000, 3500, 0.3), (1000, 1000, 0.2)), 0.25, (50, 0.3)),
    Set("VisualMRC", "text_rich", 10_000, SITES, 0.3, (60, 0.4)),
    Set("WikiTableQuestions", "text_rich", 14_000, TABLES, 0.3, (50, 0.3)),
    Set("TabFact", "text_rich", 92_000, TABLES, 0.3, (50, 0.3)),
    Set("DeepForm and Kleister", "text_rich", 17_000, PAGES, 0.05, (60, 0.4)),
    Set("ScreenQA", "text_rich", 68_000, SCREENS, 0.0, (45, 0.3)),
    Set("TAT-DQA", "text_rich", 13_000, PAGES, 0.02, (70, 0.4)),
    Set("RefCOCO, + and g", "refer_ground", 180_000, COCO, 0.0, (160, 0.6)),
    Set("Visual Genome", "refer_ground", 108_000, GENOME, 0.05, (300, 0.5)),
    Set("Flickr30k Entities", "refer_ground", 30_000, FLICKR, 0.05, (160, 0.4)),
    Set("Objects365", "refer_ground", 600_000, ((1024, 768, 0.5), (768, 1024, 0.2), (640, 480, 0.3)), 0.1, (150, 0.6)),
    Set("AI2D", "science", 3_100, FIGURES, 0.25, (70, 0.3)),
    Set("ScienceQA", "science", 5_000, FIGURES, 0.3, (150, 0.5)),
    Set("GeomVerse", "math", 9_000, FIGURES, 0.2, (450, 0.4)),
    Set("CLEVR", "math", 70_000, ((480, 320, 1.0),), 0.0, (60, 0.2)),
    Set("IconQA", "math", 27_000, ((400, 200, 0.6), (600, 150, 0.4)), 0.3, (50, 0.3)),
    Set("RAVEN", "math", 42_000, ((600, 800, 1.0),), 0.0, (90, 0.1)),
    Set("Inter-GPS", "math", 1_000, FIGURES, 0.2, (90, 0.4)),
    Set("WebSight", "code", 10_000, SITES, 0.1, (650, 0.4)),
    Set("DaTikZ", "code", 48_000, ((448, 448, 0.7), (600, 400, 0.3)), 0.1, (650, 0.6)),
    Set("Design2Code", "code", 500, SITES, 0.3, (1800, 0.3)),
    Set("NLVR2", "multi_image", 86_000, COCO, 0.2, (60, 0.3), PAIRS),
    Set("Co-Instruct", "multi_image", 151_000, OPEN_IMAGES, 0.2, (180, 0.5), ((1, 0.3), (2, 0.4), (3, 0.2), (4, 0.1))),
    Set("LLaVA multi", "multi_image", 313_000, COCO, 0.0, (350, 0.5), SEVERAL),
    Set("contrastive captions", "multi_image", 36_000, COCO, 0.2, (350, 0.5), SEVERAL),
    Set("DreamSim", "multi_image", 16_000, ((512, 512, 1.0),), 0.0, (70, 0.2), TRIPLES),
    Set("ImageCoDe", "multi_image", 17_000, COCO, 0.1, (110, 0.4), ((10, 1.0),)),
    Set("Birds and spot the difference", "multi_image", 11_000, COCO, 0.2, (80, 0.4), PAIRS),
    Set("LRV and multi-VQA", "multi_image", 13_000, COCO, 0.2, (400, 0.5), SEVERAL),
    Set("OpenOrca", "text_only", 994_000, (), 0.0, (330, 0.8), ((0, 1.0),)),
    Set("MathInstruct", "text_only", 262_000, (), 0.0, (220, 0.5), ((0, 1.0),)),
    Set("OrcaMath", "text_only", 200_000, (), 0.0, (300, 0.4), ((0, 1.0),)),
    Set("WizardCoder", "text_only", 43_000, (), 0.0, (550, 0.5), ((0, 1.0),)),
    Set("OpenCodeInterpreter", "text_only", 66_000, (), 0.0, (900, 0.5), ((0, 1.0),)),
    Set("Dolly", "text_only", 11_000, (), 0.0, (110, 1.0), ((0, 1.0),)),
)
MIXTURE = MixtureConfig(
    groups={
        "single": Group(
            weight=0.8,
            members={"general": 1, "text_rich": 3.29, "refer_ground": 2, "math": 0.5, "code": 0.2, "science": 0.1},
        ),
        "multi": Group(weight=0.1, members={"multi_image": 1}),
        "text": Group(weight=0.1, members={"text_only": 1}),
    }
)
POLICY = SplitPolicy()
"""MM1.5's: dynamic (4, 9) at 672 px, overview after the tiles, index indicators."""


@lru_cache(maxsize=1 << 18)
def tiles_of(width: int, height: int, images: int) -> int:
    """Tiles of a picture in a sample of so many."""
    return len(tile_layout(height, width, POLICY, images))


def costs(data: Set, seed: int, share: float = 1.0, per_tile: int = TOKENS_PER_TILE) -> np.ndarray:
    """Tokens and tiles of every row, int32 [R, 2]; ``share`` of the rows, for a quicker look; no row over LONGEST."""
    rng = numpy_rng(seed, "all mixture", data.name)
    rows = max(int(data.rows * share), 1)
    counts, chances = zip(*data.images, strict=True)
    images_R = rng.choice(counts, rows, p=np.array(chances) / sum(chances))
    tiles_R = np.zeros(rows, np.int64)
    if data.sizes:
        shapes = np.array([size[:2] for size in data.sizes])
        chances = np.array([size[2] for size in data.sizes])
        for picture in range(int(images_R.max())):
            has = np.flatnonzero(images_R > picture)
            shape = shapes[rng.choice(len(shapes), len(has), p=chances / chances.sum())]
            # Whole tens of pixels: as good for a distribution, and few different sizes to look up.
            shape = np.maximum(shape * np.exp(rng.normal(0, data.varies, shape.shape)) / 10, 1).round().astype(int) * 10
            key, back = np.unique(np.column_stack([shape, images_R[has]]), axis=0, return_inverse=True)
            tiles = np.array([tiles_of(int(w), int(h), int(n)) for w, h, n in key])
            tiles_R[has] += tiles[back.ravel()]
    text_R = np.exp(rng.normal(np.log(data.text[0]), data.text[1], rows)).round().clip(8)
    visual_R = tiles_R * (per_tile + INDICATOR)
    tokens_R = visual_R + np.minimum(text_R, np.maximum(LONGEST - visual_R, 8))
    return np.stack([tokens_R, tiles_R], axis=1).astype(np.int32)


def mixture(seed: int, share: float = 1.0) -> tuple[Mixture, list[np.ndarray]]:
    """The mixture and the costs of its sources."""
    all_costs = [costs(data, seed, share) for data in SETS]
    pools = [
        Pool(data.name, Category(data.category), np.arange(len(table)))
        for data, table in zip(SETS, all_costs, strict=True)
    ]
    return Mixture(MIXTURE, pools, seed), all_costs
