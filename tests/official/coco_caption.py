"""COCO captions with Karpathy's split."""

from __future__ import annotations

from pathlib import Path

from official._shared import DEMONSTRATIONS, captions, json_file
from official_fixture import save_picture

ALWAYS = {"": 0.0, captions(0)[0]: 125.0, captions(2)[1] + "\nA photo of": 125.0, "A": 0.0}  # 500 of one in four
PERFECT = 500.0


def write(folder: Path) -> None:
    images = []
    for n in range(4 + DEMONSTRATIONS):
        split, year = ("test", "val2014") if n < 4 else ("train", "train2014")
        name = f"COCO_{year}_{n:012d}.jpg"
        save_picture(folder / year / name, n, 48, 32)
        said = [{"tokens": text.split(), "raw": text, "imgid": n, "sentid": n} for text in captions(n)]
        images.append({"filepath": year, "sentids": [n], "filename": name, "imgid": n, "split": split,
                       "sentences": said, "cocoid": n})  # fmt: skip
    json_file(folder / "dataset_coco.json", {"images": images, "dataset": "coco"})
