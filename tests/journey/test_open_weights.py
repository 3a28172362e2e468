"""A CLIP encoder and a Qwen2-type language model in real formats → a bundle → fine-tuning → a bundle that answers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch
from PIL import Image
from typer.testing import CliRunner

import mm15
from foreign_fixture import small_clip, small_qwen2
from mm15.bundle import load_bundle
from mm15.cli import app
from mm15.interop.checkpoint import open_llm, open_vision
from mm15.stage import start_stage
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


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 24), (200, 30, 30)).save(file, "PNG")
    return file.getvalue()
