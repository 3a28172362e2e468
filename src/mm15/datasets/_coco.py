"""COCO-shaped annotation files as rows: one per expression (RefCOCO) or per picture (instances, captions)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from mm15.base.errors import ConfigError
from mm15.datasets._joined import ADDRESS, DEFECT, read_json, records
from mm15.io.pickles import load_pickle

Rows = Iterator[dict[str, Any]]


def refer_rows(path: Path, options: Any) -> Rows:
    """One row per expression of a REFER pickle (``refs(unc).p``); boxes and file names come from the instances file.

    The pickle's own ``file_name`` ends in the annotation's number and is no file of COCO.
    """
    coco = _coco(path.parent / options.instances, "images", "annotations")
    images = {image.get("id"): image for image in coco["images"]}
    boxes = {annotation.get("id"): annotation.get("bbox") for annotation in coco["annotations"]}
    refs = records(load_pickle(path.read_bytes(), str(path)), str(path))
    known = sorted({str(ref.get("split")) for ref in refs})
    if options.split and options.split not in known:
        raise ConfigError(
            [f"options.split: there is no split '{options.split}'; splits: {', '.join(known)}"], str(path)
        )
    for ref in refs:
        if options.split and ref.get("split") != options.split:
            continue
        sentences = ref.get("sentences")
        for number, sentence in enumerate(sentences if isinstance(sentences, list) else [None]):
            row: dict[str, Any] = {ADDRESS: f"ref {ref.get('ref_id')} sentence {number}"}
            image, box = images.get(ref.get("image_id")), boxes.get(ref.get("ann_id"))
            sentence = sentence if isinstance(sentence, dict) else {}
            said = sentence.get("sent")
            if image is None:
                row[DEFECT] = f"image_id {ref.get('image_id')!r} is not in {options.instances}"
            elif box is None:
                row[DEFECT] = f"ann_id {ref.get('ann_id')!r} is not in {options.instances}"
            elif not isinstance(said, str):
                row[DEFECT] = "no text 'sent' in the sentence"
            else:
                row |= _picture(image, options) | {"caption": said, "boxes": [box], "ref_id": ref.get("ref_id")}
                row |= {"ann_id": ref.get("ann_id"), "sent_id": sentence.get("sent_id"), "split": ref.get("split")}
            yield row


def expression_rows(path: Path, options: Any) -> Rows:
    """One row per "image" of an MDETR file: each is one expression with its boxes, or one caption with phrases."""
    coco = _coco(path, "images", "annotations")
    boxes = _grouped(coco["annotations"])
    counted = Counter(image.get("id") for image in coco["images"])
    for number, image in enumerate(coco["images"]):
        found = boxes.get(image.get("id"), [])
        row: dict[str, Any] = {ADDRESS: f"images[{number}]"} | _picture(image, options)
        row["caption"] = image.get("caption")
        row |= {name: image[name] for name in ("id", "original_id", "dataset_name", "sentence_id") if name in image}
        if counted[image.get("id")] > 1:
            row[DEFECT] = f"{counted[image.get('id')]} images have the id {image.get('id')!r}: their boxes are mixed up"
        elif options.phrases or "tokens_positive_eval" in image:
            row["phrases"] = _phrases(image, found)
        else:
            row["boxes"] = [annotation.get("bbox") for annotation in found]
        yield row


def picture_rows(path: Path, options: Any) -> Rows:
    """One row per picture: its ``objects`` (COCO, Objects365, LVIS) or its ``captions`` (COCO Captions)."""
    coco = _coco(path, "images", "annotations")
    captions = any("caption" in annotation for annotation in coco["annotations"])
    names = {} if captions else category_names(coco.get("categories"), str(path))
    found = _grouped(coco["annotations"])
    for number, image in enumerate(coco["images"]):
        row: dict[str, Any] = {ADDRESS: f"images[{number}]"} | _picture(image, options) | {"image_id": image.get("id")}
        listed = found.get(image.get("id"), [])
        if captions:
            row["captions"] = [annotation.get("caption") for annotation in listed]
        else:
            row["objects"] = [
                {
                    "name": names.get(annotation.get("category_id")),
                    "box": annotation.get("bbox"),
                    "crowd": bool(annotation.get("iscrowd", 0)),
                }
                for annotation in listed
            ]
            row["open"] = [names[c] for c in image.get("not_exhaustive_category_ids") or [] if c in names]
            if any(item["name"] is None for item in row["objects"]):
                row[DEFECT] = "a category_id that is not in 'categories'"
        yield row


def category_names(categories: object, where: str) -> dict[Any, str]:
    """Names to say: underscores become spaces, and LVIS's ``bow_(weapon)`` is "bow" where no other category is one."""
    listed = records(categories, f"{where}: 'categories'")
    whole = {item.get("id"): str(item.get("name", "")).replace("_", " ").strip() for item in listed}
    plain = {key: re.sub(r"\s*\([^)]*\)\s*$", "", name) or name for key, name in whole.items()}
    counted = Counter(plain.values())
    return {key: name if counted[name] == 1 else whole[key] for key, name in plain.items()}


def _coco(path: Path, *parts: str) -> dict[str, Any]:
    coco = read_json(path)
    if not isinstance(coco, dict) or any(part not in coco for part in parts):
        raise ConfigError([f"expected an object with {' and '.join(map(repr, parts))} side by side"], str(path))
    for part in parts:
        records(coco[part], f"{path}: '{part}'")
    return coco


def _grouped(annotations: list[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    found: dict[Any, list[dict[str, Any]]] = {}
    for annotation in annotations:
        found.setdefault(annotation.get("image_id"), []).append(annotation)
    return found


def _picture(image: dict[str, Any], options: Any) -> dict[str, Any]:
    """File name and size. LVIS has no ``file_name``: the last two parts of ``coco_url`` are folder and file."""
    name = image.get("file_name")
    if not name and isinstance(image.get("coco_url"), str):
        name = "/".join(PurePosixPath(urlsplit(image["coco_url"]).path).parts[-2:])
    if isinstance(name, str) and options.images:
        name = f"{options.images.rstrip('/')}/{name}"
    return {"file_name": name, "width": image.get("width"), "height": image.get("height")}


def _phrases(image: dict[str, Any], annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The phrases of a caption with their boxes; spans are ``[[start, end], ...]`` in characters of the caption.

    Every annotation names the spans it belongs to. A phrase without a box (nothing to see of it) has none here either.
    """
    caption = str(image.get("caption", ""))
    spans = [*image.get("tokens_positive_eval", [])]
    spans += [annotation.get("tokens_positive") for annotation in annotations]
    phrases: list[dict[str, Any]] = []
    for span in spans:
        if span and span not in [phrase["span"] for phrase in phrases]:
            boxes = [one.get("bbox") for one in annotations if one.get("tokens_positive") == span]
            said = " ".join(caption[start:end] for start, end in span)
            phrases.append({"text": said, "span": span, "boxes": boxes})
    return [{"text": phrase["text"], "boxes": phrase["boxes"]} for phrase in phrases]
