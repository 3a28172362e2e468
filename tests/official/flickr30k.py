"""Flickr30k Entities as its authors lay it out: five phrases with boxes in four captions of two pictures."""

from __future__ import annotations

from pathlib import Path

from official_fixture import save_picture

ALWAYS = {
    "": 0.0,
    "A man [200, 200, 600, 800]": 40.0,
    "a young girl [100, 100, 500, 600], two dogs [100, 100, 700, 800]": 40.0,
    "two dogs [100, 100, 300, 300]": 0.0,
    "[200, 200, 600, 800]": 0.0,
}
"""2 of 5 phrases are "a man"; one of two boxes is not the merged box; a box without a name finds nothing."""
SENTENCES = {
    "11": [
        "[/EN#1/people A young girl] runs with [/EN#2/animals two dogs] .",
        "[/EN#1/people/clothing The child] is happy .",
        "It rains .",
    ],
    "12": [
        "[/EN#3/people A man] sees [/EN#0/notvisual the end] of [/EN#4/scene a park] .",
        "[/EN#3/people A man] , alone .",
    ],
}
BOXES = {"11": [("1", 9, 6, 45, 36), ("2", 9, 6, 27, 18), ("2", 45, 30, 63, 48)], "12": [("3", 18, 12, 54, 48)]}
"""Phrase, xmin, ymin, xmax, ymax on 90 x 60 pixels."""


def write(folder: Path) -> None:
    for name in ("Annotations", "Sentences"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "test.txt").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    for key, sentences in SENTENCES.items():
        save_picture(folder / "flickr30k-images" / f"{key}.jpg", int(key), 90, 60)
        (folder / "Sentences" / f"{key}.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
        objects = "".join(
            f"<object><name>{phrase}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>"
            f"<ymax>{y2}</ymax></bndbox></object>"
            for phrase, x1, y1, x2, y2 in BOXES[key]
        )
        objects += "<object><name>4</name><scene>1</scene><nobndbox>1</nobndbox></object>" if key == "12" else ""
        (folder / "Annotations" / f"{key}.xml").write_text(
            f"<annotation><size><width>90</width><height>60</height><depth>3</depth></size>{objects}</annotation>",
            encoding="utf-8",
        )
