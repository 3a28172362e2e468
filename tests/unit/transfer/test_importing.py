"""Two folders become a bundle; what was resized, added and left out is told, and what is wrong, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foreign_fixture import QWEN_TEMPLATE, add_tokenizer, change_config, change_shard, small_clip, small_qwen2
from mm15.base.errors import BundleError, ConfigError
from mm15.bundle import load_bundle
from mm15.interop.checkpoint import open_llm, open_vision
from mm15.model.vit import resize_positions
from mm15.text.tokenizer import Tokenizer
from mm15.transfer.importing import Imported, import_bundle

SMALL = ("connector.tokens=4", "connector.hidden=24", "connector.depth=1")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A CLIP model, and a language model without spare rows."""
    root = tmp_path_factory.mktemp("foreign")
    small_qwen2(root / "probe")
    rows = Tokenizer.from_file(root / "probe" / "tokenizer.json").vocab_size
    return small_clip(root / "clip"), small_qwen2(root / "qwen", rows=rows)


def run(folders: tuple[Path, Path], out: Path, **more: object) -> Imported:
    values: dict[str, object] = {"changes": SMALL, "say": lambda text: None, **more}
    return import_bundle(*folders, out, **values)  # type: ignore[arg-type]


def test_new_words_begin_as_the_mean_where_no_row_is_free(folders, tmp_path):
    made = run(folders, tmp_path / "out")
    bundle = load_bundle(tmp_path / "out")
    table = bundle.model.state_dict()["decoder.embedding.weight"]
    theirs = dict(open_llm(folders[1]).state())["embedding.weight"]
    assert len(table) == len(theirs) + 1 and bundle.processor.image_token == len(theirs)
    assert torch.equal(table[:-1], theirs)
    torch.testing.assert_close(table[-1], theirs.mean(0))
    assert f"1 rows added to the embedding, each the mean of its {len(theirs)}" in made.notes


def test_another_tile_size_resizes_both_position_tables_once(folders, tmp_path):
    said: list[str] = []
    made = run(folders, tmp_path / "out", tile=24, say=said.append)
    state = load_bundle(tmp_path / "out").model.state_dict()
    theirs = dict(open_vision(folders[0]).state())["positions.weight"]
    torch.testing.assert_close(state["vision.positions.weight"], resize_positions(theirs, 4, 6))
    assert len(state["connector.positions.weight"]) == 36
    assert made.tile == 24
    assert sum("resized for 16 -> 24 px tiles (bicubic, fp32)" in line for line in said) == 1


def test_a_connector_is_taken_over_with_its_positions_resized(folders, tmp_path):
    run(folders, tmp_path / "large", tile=24, seed=5)
    made = run(folders, tmp_path / "small", connector=tmp_path / "large", changes=())
    large = load_bundle(tmp_path / "large").model.state_dict()
    small = load_bundle(tmp_path / "small").model.state_dict()
    assert torch.equal(small["connector.read_out.layers.0.weight"], large["connector.read_out.layers.0.weight"])
    expected = resize_positions(large["connector.positions.weight"], 6, 4)
    assert torch.equal(small["connector.positions.weight"], expected)
    assert any("grids of 6 -> 4 patches" in note for note in made.notes)


def test_half_the_space_and_a_template_of_ones_own(folders, tmp_path):
    made = run(folders, tmp_path / "out", dtype="bfloat16", template="plain")
    bundle = load_bundle(tmp_path / "out")
    assert {tensor.dtype for tensor in bundle.model.state_dict().values()} == {torch.bfloat16}
    template = bundle.processor.config.template
    assert template.user.prefix == "<|user|>" and template.document.end == "<|endoftext|>" and template.bos == ""
    assert any("special tokens added: <|image|>" in note and "<|assistant|>" in note for note in made.notes)


def test_reserved_tokens_are_renamed_before_the_vocabulary_grows(tmp_path):
    vision, llm = small_clip(tmp_path / "clip"), small_qwen2(tmp_path / "llm")
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    spare = [f"<|reserved_special_token_{number}|>" for number in (10, 2)]
    add_tokenizer(llm, (*names, *spare), QWEN_TEMPLATE, eos_token="<|im_end|>")
    before = Tokenizer.from_file(llm / "tokenizer.json")
    made = run((vision, llm), tmp_path / "plain")
    tokenizer = load_bundle(tmp_path / "plain").processor.tokenizer
    assert tokenizer.vocab_size == before.vocab_size
    assert tokenizer.special("<|image|>") == before.special(spare[0])
    assert spare[0] not in tokenizer.specials and spare[1] in tokenizer.specials
    assert f"special token {spare[0]} is now <|image|> = {before.special(spare[0])}" in made.notes
    assert tokenizer.encode("a <|image|> b") == before.encode("a <|image|> b"), "typed, it stays text"
    assert tokenizer.encode_trusted("<|image|>") == (before.special(spare[0]),)

    made = run((vision, llm), tmp_path / "tags", tags=True)
    bundle = load_bundle(tmp_path / "tags")
    tokenizer = bundle.processor.tokenizer
    places = [tokenizer.special(name) for name in ("<image>", "<fake_token_around_image>", "<end_of_utterance>")]
    assert places == [before.special(spare[0]), before.special(spare[1]), before.vocab_size]
    assert bundle.processor.config.template.image == "<image>" and bundle.processor.image_token == places[0]
    split = bundle.processor.config.split
    assert (split.mode, split.indicator, split.tile) == ("fill", "tags", 16)


def test_everything_that_is_wrong_with_all_folders_is_told_at_once(tmp_path):
    vision, llm = small_clip(tmp_path / "clip"), small_qwen2(tmp_path / "qwen")
    change_shard(vision, "vision_model.embeddings.class_embedding", torch.zeros(31))
    change_config(llm, hidden_act="gelu")
    (llm / "tokenizer.json").unlink()
    with pytest.raises(BundleError) as error:
        run((vision, llm), tmp_path / "out")
    for told in ("class_embedding: shape [31]", "hidden_act: 'gelu' is not supported", "tokenizer.json: missing"):
        assert told in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "more, told",
    [
        ({"template": "vicuna"}, "template: 'vicuna' is unknown; known: auto, chatml, plain"),
        ({"changes": ("decoder.width=3",)}, "only connector.* can be set"),
        ({"changes": ("connector.token=4",)}, "unknown key (did you mean 'tokens'?)"),
        ({"tile": 25}, "tile: 25 px is not a multiple of the encoder's patches of 4 px"),
    ],
)
def test_wrong_arguments(more, told, folders, tmp_path):
    with pytest.raises(ConfigError) as error:
        run(folders, tmp_path / "out", **more)
    assert told in str(error.value)
