"""An encoder and a language model in real formats → a bundle → fine-tuning → a folder of transformers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
from typer.testing import CliRunner

import mm15
from foreign_fixture import small_clip, small_llama, small_qwen2, small_siglip
from mm15.base.types import Category, Sample
from mm15.bundle import load_bundle
from mm15.cli import app
from mm15.interop.checkpoint import open_llm, open_vision
from mm15.stage import start_stage
from mm15.transfer.verifying import PROMPTS, conversation_of
from stage_fixture import small_recipe


def test_import_then_fine_tune_then_ask(small_data: Path, tmp_path: Path):
    vision, llm = small_clip(tmp_path / "clip"), small_qwen2(tmp_path / "qwen")
    out = tmp_path / "imported"
    command = ["import", "--vision", vision, "--llm", llm, "--out", out, "--json"]
    connector = ["--set", "connector.tokens=4", "--set", "connector.hidden=24", "--set", "connector.depth=1"]
    run = CliRunner().invoke(app, [*map(str, command), *connector], catch_exceptions=False)
    assert run.exit_code == 0
    told = json.loads(run.stdout)
    assert told["vision"] == "clip" and told["llm"] == "qwen2"
    assert told["licences"][1] == "qwen: the card says apache-2.0"
    assert "states no licence" in told["licences"][0]

    bundle = load_bundle(out)
    state = bundle.model.state_dict()
    theirs = dict(open_llm(llm).state()) | {f"v.{k}": v for k, v in open_vision(vision).state()}
    assert torch.equal(state["decoder.blocks.1.attention.qkv.bias"], theirs["blocks.1.attention.qkv.bias"])
    assert torch.equal(state["vision.class_token.weight"], theirs["v.class_token.weight"])
    # The new token took a row that the model had and its tokenizer did not use.
    assert bundle.model.config.decoder.vocab_size == 640
    assert bundle.processor.image_token == bundle.model.config.image_token < 640
    assert bundle.processor.config.template.user.prefix == "<|im_start|>user\n"
    assert any("'<|im_start|>system\\nYou are Qwen.<|im_end|>\\n'" in note for note in told["notes"])
    assert bundle.extra["imported"]["llm"] == {"folder": "qwen", "family": "qwen2"}

    result = start_stage(small_recipe("sft"), tmp_path / "run", small_data, init=out)
    assert result.finished and result.steps == 20
    trained = load_bundle(tmp_path / "run" / "bundle")
    assert not torch.equal(trained.model.state_dict()["decoder.embedding.weight"], state["decoder.embedding.weight"])
    losses = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in losses if "loss" in row]
    assert sum(losses[-5:]) < sum(losses[:5])
    reply = mm15.load(tmp_path / "run").ask("What is this?", images=[picture()], max_new_tokens=4)
    assert reply.stop_reason in ("stop", "length") and reply.tiles >= 1


NO_TEXT = {"mode": "none", "indicator": "none"}
TAGS = {"mode": "fill", "indicator": "tags", "n_max": 4, "max_split_images": 60}
WAYS: dict[str, tuple[list[str], dict[str, object]]] = {
    "hf": (["tokens=4", "hidden=24", "depth=1"], {}),
    "llava": (["kind=mlp", "tokens=16"], {"split": NO_TEXT}),
    "idefics3": (["kind=pixel-shuffle", "tokens=4"], {"split": TAGS}),
}


@pytest.mark.parametrize("to", WAYS)
def test_import_then_fine_tune_then_export_then_the_same_answers(to: str, small_data: Path, tmp_path: Path):
    connector, changes = WAYS[to]
    tags = to == "idefics3"
    vision = (small_siglip if tags else small_clip)(tmp_path / "vision")
    llm = (small_llama if tags else small_qwen2)(tmp_path / "llm")
    command = ["import", "--vision", vision, "--llm", llm, "--out", tmp_path / "start", "--json"]
    command += [part for change in connector for part in ("--set", f"connector.{change}")] + ["--tags"] * tags
    assert CliRunner().invoke(app, [*map(str, command)], catch_exceptions=False).exit_code == 0
    recipe = small_recipe("sft", **changes)
    assert start_stage(recipe, tmp_path / "run", small_data, init=tmp_path / "start").steps == 20

    out = tmp_path / "out"
    command = ["export", tmp_path / "run", "--to", to, "--out", out, "--verify", "--json", "--shard-gb", "0.0001"]
    run = CliRunner().invoke(app, [*map(str, command)], catch_exceptions=False)
    assert run.exit_code == 0
    told = json.loads(run.stdout)
    assert told["to"] == to and told["verified"]["prompts"] == PROMPTS and told["verified"]["ties"] == 0
    assert told["verified"]["logit_difference"] <= 1e-5 and told["verified"]["new_tokens"] > PROMPTS
    assert len(list(out.glob("model-0*.safetensors"))) > 1

    chat = mm15.load(tmp_path / "run")
    trusted = {"trust_remote_code": to == "hf"}
    reader = AutoProcessor.from_pretrained(out, **trusted)
    model = AutoModelForImageTextToText.from_pretrained(out, **trusted).eval()
    # llava lays a picture that is not square elsewhere, so there it is asked about squares.
    sizes = [(24, 24)] if to == "llava" else [(40, 24), (17, 50)]
    for question, images in (("What is this?", [picture(*size) for size in sizes]), ("Name a colour.", [])):
        reply = chat.ask(question, images=images, max_new_tokens=24)
        sample = Sample("asked", "s", Category.GENERAL, reply.messages[:-1])
        inputs = reader.apply_chat_template(
            conversation_of(sample), add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        said = model.generate(**inputs, max_new_tokens=24)[0, inputs["input_ids"].shape[1] :]
        assert reader.decode(said, skip_special_tokens=True) == reply.text
        assert reply.text


def picture(width: int = 40, height: int = 24) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(file, "PNG")
    return file.getvalue()
