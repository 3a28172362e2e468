"""Named cut-outs on photographs → captions, referring, grounding, counting, negatives and differences.

Formats and their data sets, n pictures of each but ``refer`` (an expression a row) and ``differences`` (n pairs):

- ``coco``: ``objects.json`` (COCO instances with masks) and ``captions.json`` (COCO captions).
- ``refer``: ``refer.json``, expressions in the layout of MDETR's RefCOCO files.
- ``llava``: ``general`` (numbers, presence, places in words) and ``differences`` (two pictures, multi_image).
- ``ferret``: ``refer-ground``, conversations with boxes, and masks for points; answers to what is not there.

All but ``differences`` show the same pictures, longest side ``size`` px. Nothing covers anything else, so boxes and
masks are exact. See ``mm15.build._cut_outs`` for what a folder of cut-outs looks like.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from mm15.base.rng import python_rng
from mm15.build._composed import (
    CHANGES,
    boxed_turns,
    changed,
    compose,
    expressions,
    general_turns,
    listed,
    mask_of,
    save_picture,
)
from mm15.build._cut_outs import Stock, stock_of
from mm15.build._sets import Side
from mm15.build.canvas import PixelBox, listing, llava_row

FORMATS = ("coco", "refer", "llava", "ferret")
N = 1000
SIZE = 448
TURNS = 4


def build(side: Side) -> None:
    """Write the data sets of one side."""
    stock = stock_of(side)
    (side.out / "images").mkdir()
    seed, size = side.seed, side.request.size
    scenes = list(side.each(partial(scene_rows, out=side.out, stock=stock, seed=seed, size=size), range(side.n)))
    if side.wants("coco"):
        objects = _write_objects(side.out / "objects.json", scenes, stock.names)
        tasks = {"mode": "coco-instances", "tasks": ["ground", "refer", "detect"]}
        side.add("objects", objects, "coco-refs", "refer_ground", path="objects.json", options=tasks)
        captions = _write_captions(side.out / "captions.json", scenes)
        tasks = {"mode": "coco-instances", "tasks": ["caption"]}
        side.add("captions", captions, "coco-refs", "caption", path="captions.json", options=tasks)
    if side.wants("refer"):
        count = _write_expressions(side.out / "refer.json", scenes, side.n)
        side.add("refer", count, "coco-refs", "refer_ground", path="refer.json", options={"mode": "mdetr-json"})
    if side.wants("llava"):
        side.add("general", [scene["general"] for scene in scenes], "llava", "general")
        work = partial(difference_row, out=side.out, stock=stock, seed=seed, size=size)
        side.add("differences", list(side.each(work, range(side.n))), "llava", "multi_image")
    if side.wants("ferret"):
        side.add("refer-ground", [scene["ferret"] for scene in scenes], "ferret-json", "refer_ground")


def scene_rows(index: int, out: Path, stock: Stock, seed: int, size: int) -> dict[str, Any]:
    """Scene ``index``: its picture, and everything that is said of it. Depends on its arguments alone."""
    rng = python_rng(seed, "scene", index)
    scene = compose(stock, size, rng)
    picture = scene.picture()
    name = save_picture(picture, out, f"images/scene-{index:06d}.jpg")
    objects = [
        {"name": item.thing.name, "box": list(item.box), "mask": mask_of(item, *scene.size)} for item in scene.placed
    ]
    masks = dict(zip(map(id, scene.placed), (one["mask"] for one in objects), strict=True))
    phrases = listed(scene)
    captions = [
        f"{listing(phrases)[:1].upper()}{listing(phrases)[1:]} on a photograph.",
        f"The picture shows {listing(phrases)}.",
    ]
    said = expressions(scene)
    general = llava_row(
        f"general/{index:06d}", "general", name, [picture], general_turns(scene, stock.names, index, rng)[:TURNS]
    )
    turns = boxed_turns(scene, stock.names, index, rng)[:TURNS]
    ferret = llava_row(f"refer-ground/{index:06d}", "refer_ground", name, [picture], [turn[:2] for turn in turns])
    ferret |= {"image_w": picture.width, "image_h": picture.height}
    ferret["box_x1y1x2y2"] = [
        side
        for _, _, asked, groups in turns
        for side in (
            [list(item.box) for item in asked],
            [[list(item.box) for item in group] if len(group) > 1 else list(group[0].box) for group in groups],
        )
    ]
    ferret["masks"] = [side for _, _, asked, _ in turns for side in ([masks[id(item)] for item in asked], [])]
    return {
        "image": {"file_name": name, "width": picture.width, "height": picture.height, "id": index + 1},
        "objects": objects,
        "captions": captions,
        "expressions": [(phrase, list(item.box)) for phrase, item in rng.sample(said, len(said))],
        "general": general | {"objects": [{"name": one["name"], "box": one["box"]} for one in objects]},
        "ferret": ferret,
    }


def difference_row(index: int, out: Path, stock: Stock, seed: int, size: int) -> dict[str, Any]:
    """Two pictures and what has changed from one to the other. Kinds of changes take turns."""
    rng = python_rng(seed, "difference", index)
    kind = CHANGES[index % len(CHANGES)]
    while True:
        scene = compose(stock, size, rng, copies=False)
        made = changed(scene, stock, kind, rng)
        if made:
            break
    second, told = made
    pictures = [scene.picture(), second.picture()]
    names = [save_picture(one, out, f"images/pair-{index:06d}-{k}.jpg") for k, one in enumerate(pictures)]
    question = "What has changed from the first picture to the second?"
    row = llava_row(f"differences/{index:06d}", kind, names, pictures, [(question, told)])
    objects = [[{"name": item.thing.name, "box": list(item.box)} for item in one.placed] for one in (scene, second)]
    return row | {"objects": objects}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _xywh(box: list[int] | PixelBox) -> list[int]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def _write_objects(path: Path, scenes: list[dict[str, Any]], names: list[str]) -> int:
    numbers = {name: number for number, name in enumerate(names, 1)}
    annotations = [
        {
            "image_id": scene["image"]["id"],
            "category_id": numbers[one["name"]],
            "bbox": _xywh(one["box"]),
            "area": sum(one["mask"]["counts"][1::2]),
            "segmentation": one["mask"],
            "iscrowd": 0,
        }
        for scene in scenes
        for one in scene["objects"]
    ]
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    annotations = [{"id": number, **one} for number, one in enumerate(annotations, 1)]
    _write(path, {"images": [scene["image"] for scene in scenes], "annotations": annotations, "categories": categories})
    return len(scenes)


def _write_captions(path: Path, scenes: list[dict[str, Any]]) -> int:
    said = [(scene["image"]["id"], caption) for scene in scenes for caption in scene["captions"]]
    annotations = [{"id": k, "image_id": image, "caption": text} for k, (image, text) in enumerate(said, 1)]
    _write(path, {"images": [scene["image"] for scene in scenes], "annotations": annotations})
    return len(scenes)


def _write_expressions(path: Path, scenes: list[dict[str, Any]], n: int) -> int:
    """As in MDETR's files every "image" is one expression: the first of every scene, then the second, up to n."""
    most = max(len(scene["expressions"]) for scene in scenes)
    drawn = [
        (scene["image"], *scene["expressions"][lap])
        for lap in range(most)
        for scene in scenes
        if lap < len(scene["expressions"])
    ][:n]
    images = [
        image | {"id": number, "original_id": image["id"], "caption": phrase, "dataset_name": "scenes"}
        for number, (image, phrase, _) in enumerate(drawn, 1)
    ]
    annotations = [
        {"id": number, "image_id": number, "bbox": _xywh(box), "area": _xywh(box)[2] * _xywh(box)[3]}
        for number, (_, _, box) in enumerate(drawn, 1)
    ]
    _write(path, {"images": images, "annotations": annotations, "categories": []})
    return len(drawn)
