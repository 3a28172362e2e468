"""Bundles that split and write tags as Idefics3 does, read by its own classes without our code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, Idefics3ForConditionalGeneration
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from export_fixture import CLIP, LLAMA, QWEN2, made_bundle
from mm15.base.errors import ConfigError
from mm15.base.types import Category, Sample, user
from mm15.bundle import Bundle
from mm15.generate.chat import picture_part
from mm15.images.split import SplitMode, SplitPolicy, choose_grid, split_image, tile_layout, unsplit
from mm15.interop.hf_idefics3 import positions_kept
from mm15.model.vit import normalise
from mm15.text.template import CHATML, TemplateConfig
from mm15.transfer.exporting import export
from mm15.transfer.verifying import conversation_of, verify

torch.set_num_threads(1)

ONE = {"kind": "pixel-shuffle", "tokens": 1}
SPLIT = {"mode": "fill", "indicator": "tags", "max_split_images": 256}
TEMPLATES = {
    "own": TemplateConfig(image="<image>"),
    "chatml": CHATML.model_copy(update={"image": "<image>"}),
}


def idefics3_bundle(template: str = "own", **changes: dict[str, Any]) -> Bundle:
    split = SPLIT | changes.pop("split", {})
    parts: Any = {"connector": {"kind": "pixel-shuffle"}, "decoder": LLAMA} | changes
    return made_bundle(template=TEMPLATES[template], split=split, **parts)


@pytest.mark.parametrize(
    ("template", "changes"),
    [
        ("own", {}),
        ("chatml", {"decoder": LLAMA | {"tied_head": True}, "connector": ONE, "split": {"max_split_images": 1024}}),
        ("own", {"split": {"max_split_images": 0}}),
        ("own", {"split": {"n_max": 17}}),
    ],
)
def test_idefics3_without_code(template, changes, tmp_path):
    bundle = idefics3_bundle(template, **changes)
    export(bundle, tmp_path / "out", "idefics3")
    verified = verify(bundle, tmp_path / "out", "idefics3", prompts=4)
    assert verified.logit_difference <= 1e-5 and verified.ties == 0 and verified.new_tokens > 4
    assert not list((tmp_path / "out").glob("*.py"))
    model, report = AutoModelForImageTextToText.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert isinstance(model, Idefics3ForConditionalGeneration)
    assert not any(report[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_the_types_own_pixels_are_nearly_ours_and_as_many(tmp_path):
    bundle = idefics3_bundle()
    export(bundle, tmp_path / "out", "idefics3")
    reader = AutoProcessor.from_pretrained(tmp_path / "out")
    rng, worst, vision = np.random.default_rng(0), 0.0, bundle.model.config.vision
    for width, height in ((40, 24), (24, 40), (33, 32), (100, 7), (7, 100), (48, 47), (200, 131)):
        small = rng.integers(0, 256, (-(-height // 4), -(-width // 4), 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)
        sample = Sample("s", "s", Category.GENERAL, (user(picture_part(picture), "what?"),))
        encoded = bundle.processor.encode(sample, answering=True)
        ours = normalise(encoded.tiles_NCHW, vision.mean, vision.std)
        read = reader.apply_chat_template(
            conversation_of(sample), add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        assert read["input_ids"][0].tolist() == encoded.tokens_T.tolist()
        theirs = read["pixel_values"][0]
        assert theirs.shape == ours.shape and bool(read["pixel_attention_mask"].all())
        worst = max(worst, float((theirs - ours).abs().max()) * 255 * vision.std[0])
    assert worst <= PIXELS, worst


PIXELS = 2.5
"""Of 255: another implementation of the same filter, twice or thrice in a row, with rounding between."""


def test_grids_are_those_of_the_type_for_many_sizes():
    reader = Idefics3ImageProcessorPil(size={"longest_edge": 4 * 32}, max_image_size={"longest_edge": 32})
    policy = SplitPolicy(mode=SplitMode.FILL, tile=32, n_max=16)
    rng = np.random.default_rng(0)
    sizes = [(int(a), int(b)) for a, b in np.exp(rng.uniform(0, np.log(3000), (2000, 2)))]
    sizes += [(side * a, side * b) for side in (1, 32, 31) for a in range(1, 9) for b in range(1, 9)]
    for height, width in sizes:
        tiles, rows, cols = reader.get_number_of_image_patches(height, width)
        grid = choose_grid(height, width, policy)
        assert (grid.rows, grid.cols) == (rows, cols), (height, width)
        slots = tile_layout(height, width, policy)
        assert len(slots) == tiles and slots[-1] == (0, 0) and max(rows, cols) == 4
        assert (grid.height, grid.width) == (rows * 32, cols * 32)


def test_fill_stretches_the_picture_onto_its_tiles_and_the_overview():
    policy = SplitPolicy(mode=SplitMode.FILL, tile=32, n_max=9)
    picture = Image.new("RGB", (60, 40))
    picture.paste((250, 10, 10), (0, 0, 30, 40))
    cut = split_image(picture, policy)
    assert (cut.grid.rows, cut.grid.cols, len(cut.tiles_NCHW)) == (2, 3, 7)
    assert cut.slots == ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (0, 0))
    whole = cut.tiles_NCHW[-1]
    assert whole[0, :, :14].min() > 240 and whole[0, :, 18:].max() < 10, "the left half is red down to the last row"
    assert cut.tiles_NCHW[3][0].min() > 240 and cut.tiles_NCHW[5][0].max() < 10
    one = split_image(picture, unsplit(policy))
    assert one.slots == ((0, 0),) and one.tiles_NCHW[0, 0, :, :14].min() > 240
    assert split_image(picture, policy.model_copy(update={"max_split_images": 1}), 2).slots == ((0, 0),)
    with pytest.raises(ValueError, match="tile must be even, not 33"):
        SplitPolicy(mode=SplitMode.FILL, tile=33)


def test_tags_as_text():
    bundle = idefics3_bundle()
    picture = picture_part(Image.new("RGB", (40, 24)))
    ids = bundle.processor.encode(
        Sample("s", "s", Category.GENERAL, (user("a", picture, "b"),)), answering=True
    ).tokens_T.tolist()
    text = bundle.processor.tokenizer.decode(ids, skip_special=False)
    fake, tile = "<fake_token_around_image>", "<image>" * 4
    rows = ["".join(f"{fake}<row_{row}_col_{col}>{tile}" for col in (1, 2, 3)) + "\n" for row in (1, 2)]
    assert f"<|user|>a{rows[0]}{rows[1]}\n{fake}<global-img>{tile}{fake}b" in text


def test_what_idefics3_cannot_do_is_named_with_the_change(tmp_path):
    with pytest.raises(ConfigError) as caught:
        export(made_bundle(vision=CLIP, decoder=QWEN2), tmp_path / "out", "idefics3")
    told = "\n".join(caught.value.problems)
    for change in (
        "train with kind: pixel-shuffle",
        "idefics3 has a SigLIP encoder",
        "decoder 'qwen2'",
        "train with split.mode: fill",
        "train with indicator: tags",
        "template.image '<|image|>': idefics3 calls it '<image>'; import with --tags",
        "<fake_token_around_image>",
    ):
        assert change in told
    few = idefics3_bundle(
        vision={"image_size": 64}, split={"max_split_images": 200, "overview": "before", "n_max": 65**2}
    )
    with pytest.raises(ConfigError) as caught:
        export(few, tmp_path / "out", "idefics3")
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["split.overview 'before'", "split"]
    few = idefics3_bundle(split={"max_split_images": 2})
    with pytest.raises(ConfigError, match="answer with max_split_images: 256"):
        export(few, tmp_path / "out", "idefics3")
    black = idefics3_bundle(vision={"mean": (0.0, 0.0, 0.0)})
    with pytest.raises(ConfigError, match="drops tiles that are zero throughout"):
        export(black, tmp_path / "out", "idefics3")
    with pytest.raises(ConfigError, match="indicator tags needs the special token '<fake_token_around_image>'"):
        made_bundle(split=SPLIT)
    assert [grid for grid in (16, 19, 24, 27, 32, 40, 48) if not positions_kept(grid)] == [19, 40]
