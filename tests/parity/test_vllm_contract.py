"""What vLLM's Transformers backend asks of a folder, asked without vLLM.

The checks are those of its ``model_executor/models/transformers/multimodal.py``: a prompt of nothing but image tokens
is processed with all pictures; each replacement is tokenised by itself; its commonest token holds the features; rows of
pixels, counted tiles and embeddings must agree; and a picture of 10,000 x 10,000 px is counted and never opened.
"""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

from export_fixture import made_bundle
from mm15.base.rng import numpy_rng
from mm15.images.split import tile_layout
from mm15.transfer.exporting import export

SPLITS = {
    "dynamic": {},
    "separators": {"indicator": "seps", "overview": "before", "max_split_images": 4},
    "static": {"mode": "static", "indicator": "none"},
    "whole": {"mode": "none"},
}
COUNTED, OPENED = 600, 25


@pytest.fixture(params=SPLITS)
def served(request, tmp_path):
    bundle = made_bundle(SPLITS[request.param])
    export(bundle, tmp_path / "hf")
    return bundle, AutoProcessor.from_pretrained(tmp_path / "hf", trust_remote_code=True), tmp_path / "hf"


def sizes_of(number, largest):
    rng = numpy_rng(1, "vllm", number, largest)
    return [tuple(int(side) for side in rng.integers(1, largest + 1, 2)) for _ in range(int(rng.integers(1, 5)))]


def test_counts_for_thousands_of_sizes(served):
    bundle, reader, _ = served
    policy, tokens_per_tile = bundle.processor.config.split, bundle.processor.tokens_per_tile
    most = 0
    for number in range(COUNTED):
        sizes = sizes_of(number, 3000)
        counted = reader._get_num_multimodal_tokens(image_sizes=sizes)
        tiles = [len(tile_layout(*size, policy, len(sizes))) for size in sizes]
        assert counted["num_image_patches"] == tiles
        places = [(index, len(sizes)) for index in range(len(sizes))]
        told = {"image_places": places, "image_sizes": sizes}
        for index, (tokens, patches) in enumerate(zip(counted["num_image_tokens"], tiles, strict=True)):
            # vLLM tokenises the replacement by itself, with the tokenizer alone.
            ids = reader.tokenizer.encode(reader.replace_image_token(told, index), add_special_tokens=False)
            assert len(ids) == tokens
            assert int(torch.tensor(ids).mode().values) == reader.image_token_id
            assert ids.count(reader.image_token_id) == patches * tokens_per_tile
        most = max(most, *tiles)
    probe = reader._get_num_multimodal_tokens(image_sizes=[[10_000, 10_000]])
    assert probe["num_image_patches"] == [len(tile_layout(10_000, 10_000, policy))]
    # Announcements may be some tokens longer elsewhere ("<n>" between rows); features, which take the memory, may not.
    assert probe["num_image_patches"] == [most]


def test_placeholders_pixels_and_offsets_agree(served):
    _, reader, _ = served
    for number in range(OPENED):
        sizes = sizes_of(number, 60)
        pictures = [Image.fromarray(np.full((*size, 3), 7 * index, np.uint8)) for index, size in enumerate(sizes)]
        counted = reader._get_num_multimodal_tokens(image_sizes=[(image.height, image.width) for image in pictures])
        prompt = reader.image_token * len(pictures)
        read = reader(
            text=prompt,
            images=pictures,
            return_tensors="pt",
            return_text_replacement_offsets=True,
            return_mm_token_type_ids=True,
        )
        assert read["pixel_values"].shape[0] == sum(counted["num_image_patches"])
        assert set(read) == {
            "input_ids",
            "attention_mask",
            "pixel_values",
            "mm_token_type_ids",
            "text_replacement_offsets",
        }
        (offsets,) = read["text_replacement_offsets"]
        assert [entry["type"] for entry in offsets] == ["image"] * len(pictures)
        whole = "".join(entry["replacement"] for entry in offsets)
        for entry in offsets:
            assert prompt[slice(*entry["span"])] == reader.image_token
            assert whole[slice(*entry["new_span"])] == entry["replacement"]
        ids = [reader.tokenizer.encode(entry["replacement"], add_special_tokens=False) for entry in offsets]
        assert [len(part) for part in ids] == counted["num_image_tokens"]
        assert read["input_ids"][0].tolist() == [index for part in ids for index in part]
        # The search through marked tokens that older releases do, in which announcements count too.
        assert int((read["mm_token_type_ids"] == 1).sum()) == sum(counted["num_image_tokens"])


def test_embeddings_fall_to_pictures_in_equal_shares(served):
    bundle, reader, folder = served
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    pictures = [Image.fromarray(np.full((20, 50, 3), 90, np.uint8)), Image.fromarray(np.full((64, 24, 3), 9, np.uint8))]
    tiles = reader._get_num_multimodal_tokens(image_sizes=[(20, 50), (64, 24)])["num_image_patches"]
    pixels = reader(text=reader.image_token * 2, images=pictures, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        together = model.get_image_features(pixels).pooler_output
        rows = together.reshape(-1, together.shape[-1])
        assert len(rows) % sum(tiles) == 0 and len(rows) // sum(tiles) == bundle.processor.tokens_per_tile
        for part, alone in zip(together.split(tiles), pixels.split(tiles), strict=True):
            torch.testing.assert_close(model.get_image_features(alone).pooler_output, part, atol=1e-5, rtol=1e-5)
    assert model._supports_attention_backend
    assert "image_processor" in reader.get_attributes() and reader.image_processor.model_input_names == ["pixel_values"]


def test_wrong_use_is_refused(served):
    _, reader, _ = served
    picture = Image.fromarray(np.zeros((9, 14, 3), np.uint8))
    with pytest.raises(ValueError, match=r"1 '<\|image\|>' in the text, but 2 pictures"):
        reader(text=reader.image_token, images=[picture, picture])
    with pytest.raises(ValueError, match="truncation would cut through pictures"):
        reader(text=reader.image_token, images=picture, truncation=True, max_length=3)
    with pytest.raises(ValueError, match="private characters"):
        reader.apply_chat_template([{"role": "user", "content": "a\ue000\ue001b"}], tokenize=True)
    with pytest.raises(ValueError, match="uint8"):
        reader.image_processor(np.zeros((9, 14, 3), np.float32))
