"""Every reading of every public entry of the registry opens a tiny set in the published layout of its format."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from format_fixture import picture, tiff, write_parquet, write_tar
from mm15.base.config import validate
from mm15.base.types import Sample
from mm15.data.source import Source, SourceConfig
from mm15.datasets._registry import Dataset, Reading, registry
from rows_fixture import save_picture, write_json

READINGS = [
    pytest.param(entry, reading, id=f"{entry.name}-{number}")
    for entry in registry().datasets
    if entry.available
    for number, reading in enumerate(entry.readings)
]
BOX = [10, 20, 30, 30]
PNG = {"bytes": picture(), "path": None}
CHAT = [{"from": "human", "value": "<image>\nQ?"}, {"from": "gpt", "value": "A."}]


def lines(folder: Path, *rows: Any) -> str:
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return "a.jsonl"


def wds_pairs(folder: Path, options: dict[str, Any]) -> str:
    column = options.get("caption", "json.caption").removeprefix("json.")
    about = {"key": "0", "url": "u", column: "a red thing", "status": "success"}
    write_tar(folder / "a.tar", {"0.jpg": picture(form="JPEG"), "0.txt": "red", "0.json": json.dumps(about)})
    return "a.tar"


def interleaved(folder: Path, options: dict[str, Any]) -> str:
    save_picture(folder / "a.jpg")
    if options["mode"] == "mint":
        about = {"texts": ["One.", None], "images": [None, "u"], "image_metadata": []}
        write_tar(folder / "a.tar", {"0.json": json.dumps(about), "0.tiff": tiff((30, 20))})
        return "a.tar"
    if options["mode"] == "mmc4":
        info = [{"image_name": "a.jpg", "raw_url": "u", "matched_text_index": 0, "matched_sim": 0.3}]
        return lines(folder, {"url": "u", "text_list": ["One.", "Two."], "image_info": info})
    row = {"images": [None, "a.jpg"], "texts": ["One.", None], "metadata": "[null, null]", "general_metadata": "{}"}
    write_parquet(folder / "a.parquet", [row])
    return "a.parquet"


def text(folder: Path, options: dict[str, Any]) -> str:
    return lines(folder, {options.get("text", "text"): "Some words.", options.get("id", "id"): "1"})


def ocr_wds(folder: Path, options: dict[str, Any]) -> str:
    write_tar(
        folder / "a.tar", {"0.png": picture(), "0.json": json.dumps({"ocr_annotation": {"text": ["One", "two"]}})}
    )
    return "a.tar"


def docowl_jsonl(folder: Path, options: dict[str, Any]) -> str:
    said = [{"role": "user", "content": "<|image|>Q?"}, {"role": "assistant", "content": "A."}]
    row = {"image": ["./imgs/a.png"], "messages": said, "task_name": "qa_sft"}
    wanted = options.get("where", {}).get("dataset_name")
    others = [row | {"dataset_name": "Another"}] if wanted else []
    return lines(folder, *others, row | {"dataset_name": wanted or "CCpdf"})


def llava(folder: Path, options: dict[str, Any]) -> str:
    write_json(folder / "a.json", [{"id": "1", "image": "a.jpg", "conversations": CHAT}])
    return "a.json"


def cauldron(folder: Path, options: dict[str, Any]) -> str:
    write_parquet(
        folder / "a.parquet", [{"images": [PNG], "texts": [{"user": "Q?", "assistant": "A.", "source": "s"}]}]
    )
    return "a.parquet"


def messages(folder: Path, options: dict[str, Any]) -> str:
    said = [{"role": "user", "content": "<image><image>Q?"}, {"role": "assistant", "content": "A."}]
    return lines(folder, {"id": "1", "images": ["a.jpg", "b.jpg"], "conversation": said, "source": "s"})


def coco_refs(folder: Path, options: dict[str, Any]) -> str:
    image = {"id": 5, "file_name": "a.jpg", "width": 90, "height": 60}
    note = {"id": 77, "image_id": 5, "category_id": 1, "bbox": BOX}
    if options["mode"] == "refer-pickle":
        write_json(folder / "instances.json", {"images": [image], "annotations": [note]})
        said = [{"sent_id": 1, "sent": "red", "raw": "red", "tokens": ["red"]}]
        ref = {"ref_id": 1, "ann_id": 77, "image_id": 5, "category_id": 1, "split": "train", "sentences": said}
        (folder / "refs.p").write_bytes(pickle.dumps([ref | {"file_name": "a_77.jpg"}], protocol=2))
        return "refs.p"
    if options["mode"] == "coco-instances":
        note |= {"caption": "A red thing."} if options["tasks"] == ["caption"] else {"iscrowd": 0, "segmentation": []}
        kinds = {"categories": [{"id": 1, "name": "dog"}]} if "iscrowd" in note else {}
        write_json(folder / "a.json", {"images": [image], "annotations": [note], **kinds})
    else:
        write_json(folder / "a.json", {"images": [image | {"caption": "red", "original_id": 5}], "annotations": [note]})
    return "a.json"


def visual_genome(folder: Path, options: dict[str, Any]) -> str:
    thing = {"object_id": 1, "x": 10, "y": 20, "w": 30, "h": 30, "names": ["dog"]}
    region = {"region_id": 1, "image_id": 1, "phrase": "a dog", "x": 10, "y": 20, "width": 30, "height": 30}
    held: dict[str, tuple[str, dict[str, Any]]] = {
        "regions": ("regions", region),
        "objects": ("objects", thing),
        "attributes": ("attributes", thing | {"attributes": ["red"]}),
        "relations": ("relationships", {"predicate": "ON", "subject": thing, "object": thing | {"names": ["mat"]}}),
        "qa": ("qas", {"question": "What?", "answer": "A dog.", "qa_id": 1}),
    }
    field, item = held[options["part"]]
    address = "https://cs.stanford.edu/people/rak248/VG_100K/1.jpg"
    write_json(folder / "image_data.json", [{"image_id": 1, "width": 90, "height": 60, "url": address}])
    write_json(folder / "a.json", [{"image_id": 1, field: [item]}])
    return "a.json"


def flickr_entities(folder: Path, options: dict[str, Any]) -> str:
    corners = "<xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax>"
    body = f"<size><width>90</width><height>60</height></size><object><name>7</name><bndbox>{corners}</bndbox></object>"
    for part, name, content in (
        ("Annotations", "1.xml", f"<annotation>{body}</annotation>"),
        ("Sentences", "1.txt", "[/EN#7/people a man] runs\n"),
    ):
        (folder / "f" / part).mkdir(parents=True)
        (folder / "f" / part / name).write_text(content)
    (folder / "f" / "train.txt").write_text("1\n")
    return "f"


def rico_ui(folder: Path, options: dict[str, Any]) -> str:
    save_picture(folder / "combined/54.jpg", 1080, 1920)
    button = {"bounds": [144, 256, 720, 512], "pointer": "b1"}
    root = {"bounds": [0, 0, 1440, 2560], "pointer": "r", "children": [button]}
    write_json(folder / "combined/54.json", {"activity": {"root": root}})
    (folder / "split").mkdir()
    (folder / "split/train_screens.txt").write_text("54\n")
    (folder / "split/train.txt").write_text("54\n")
    tables = {
        "screen2words": "screenId,summary\n54,a login\n",
        "widget-captioning": "datasetId,screenId,nodeId,captions\nrico,54,0.0,log in\n",
        "taperception": "img_id,object_id,label,raters_marked_tappable,split\n54,b1,0,5,train\n",
    }
    (folder / "a.csv").write_text(tables[options["task"]])
    return "a.csv"


def video_qa(folder: Path, options: dict[str, Any]) -> str:
    for clip in ("x.mp4", "v_x.mp4", "7.mp4", "1/7.mp4"):
        (folder / clip).parent.mkdir(exist_ok=True)
        (folder / clip).write_bytes(b"film")
    if options["mode"] == "videochat2":
        write_json(folder / "train.json", [{"video": "x.mp4", "QA": [{"i": "", "q": "What?", "a": "An onion."}]}])
        return "train.json"
    if options["mode"] == "anet-qa":
        write_json(folder / "train_q.json", [{"video_name": "x", "question": "is it day", "question_id": "x_0"}])
        write_json(folder / "train_a.json", [{"answer": "yes", "type": 3, "question_id": "x_0"}])
        return "train_q.json"
    write_json(folder / "map_vid_vidorID.json", {"7": "1/7"})
    (folder / "train.csv").write_text("video,question,answer,qid,type,a0,a1,a2,a3,a4\n7,why,1,0,CW,a,b,c,d,e\n")
    return "train.csv"


def qa_columns(folder: Path, options: dict[str, Any]) -> str:
    """A row with every column that the options name, in the layout that ``rows`` says."""
    row: dict[str, Any] = {"choices": ["a", "b"], "options": ["a", "b"], "image": "a.jpg", "split": 1, "hint": "h"}
    row |= {"imgname": "a.jpg", "image_id": "7", "imageId": "7", "image_index": 7, "code": "c", "text": "<p>"}
    row |= {"system_prompt": "s", "instruction": "i", "output": "o", "response": "r", "context": "c", "query": "q"}
    row |= {"label": "l", "question": "q", "question_string": "q", "questions": ["q"], "answers": ["x", "x"]}
    row["answer"] = 1 if "answer_index" in options else "x"
    row["ground_truth"] = [{"full_answer": "It is x."}]
    if options.get("answer") == "{ground_truth}":
        row["ground_truth"] = ["x", "y"]
    elif "gt_parse" in str(options.get("answer")):
        row["ground_truth"] = json.dumps({"gt_parse": {"text_sequence": "x"}})
    if options.get("each"):
        row["answers"] = ["x"]
    where = options.get("rows")
    write_json(folder / "a.json", {"9": row} if where == "*" else {where: [row]} if where else [row])
    return "a.json"


WRITERS: dict[str, Callable[[Path, dict[str, Any]], str]] = {
    "wds-pairs": wds_pairs, "interleaved": interleaved, "text": text, "ocr-wds": ocr_wds, "docowl-jsonl": docowl_jsonl,
    "llava": llava, "cauldron": cauldron, "messages": messages, "coco-refs": coco_refs, "visual-genome": visual_genome,
    "flickr-entities": flickr_entities, "rico-ui": rico_ui, "video-qa": video_qa, "qa-columns": qa_columns,
}  # fmt: skip


@pytest.mark.parametrize(("entry", "reading"), READINGS)
def test_a_reading_opens_what_its_format_reads(tmp_path: Path, entry: Dataset, reading: Reading):
    path = WRITERS[reading.adapter](tmp_path, reading.options)
    told = {"name": entry.name, "path": path, "format": reading.adapter, "category": entry.category}
    source = Source(validate(SourceConfig, told | {"options": reading.options}), tmp_path)
    assert len(source) == 1
    sample = source.sample(0)
    assert isinstance(sample, Sample) and sample.source == entry.name and sample.category is entry.category
    assert all(message.parts for message in sample.messages)
    assert any(message.text.strip() for message in sample.messages)
    assert source.not_selected == ("dataset_name" in str(reading.options))


def test_only_what_is_confirmed_is_said_of_a_licence():
    told = {entry.name: entry.licence for entry in registry().datasets if entry.available}
    for name, licence in told.items():
        assert "check" not in licence and "unclear" not in licence, name
        assert not licence.startswith("unknown") or "(" in licence, f"{name}: where to look?"
    assert told["screenqa"] == told["screen2words"] == "CC-BY-4.0" and told["vqav2"].startswith("unknown")
