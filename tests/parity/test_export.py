"""Exported folders, loaded by transformers: the same tokens, pixels, logits and greedy answers."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoProcessor,
    LlavaForConditionalGeneration,
)

from export_fixture import CLIP, LLAMA, QWEN2, made_bundle
from mm15.base.errors import BundleError, ConfigError
from mm15.base.types import Category, Sample, assistant, user
from mm15.generate.chat import picture_part
from mm15.model.vit import normalise
from mm15.text.template import CHATML, TemplateConfig, Turn
from mm15.transfer.exporting import export
from mm15.transfer.verifying import PROMPTS, conversation_of, made_prompts, verify

torch.set_num_threads(1)

BUNDLES = {
    "c-abstractor, siglip, qwen3": {},
    "two stages, pre-norm, clip, qwen2": {
        "connector": {"depth": 2, "pre_norm": True, "mlp_depth": 3},
        "vision": CLIP,
        "decoder": QWEN2,
        "template": CHATML,
    },
    "average, llama, separators": {
        "connector": {"kind": "average"},
        "decoder": LLAMA,
        "split": {"indicator": "seps", "overview": "before"},
    },
    "attention, olmo2": {
        "connector": {"kind": "attention", "tokens": 5},
        "decoder": {"qk_norm_over": "all", "norm_order": "after"},
        "split": {"indicator": "none", "overview": "none", "reading": "B"},
    },
    "mlp, clip": {"connector": {"kind": "mlp", "tokens": 16}, "vision": CLIP, "split": {"mode": "static"}},
    "pixel shuffle": {"connector": {"kind": "pixel-shuffle"}, "split": {"max_split_images": 0}},
    "fill and tags": {
        "template": CHATML.model_copy(update={"image": "<image>"}),
        "split": {"mode": "fill", "indicator": "tags"},
    },
    # With the capacity 0.5 training would drop most rows; who answers drops none.
    "qwen3-moe": {"decoder": {"moe": {"experts": 6, "every": 2, "capacity": 0.5, "mlp_width": 24}, "tied_head": True}},
    "olmoe": {"decoder": {"moe": {"experts": 4, "every": 1, "top_k": 3}, "qk_norm_over": "all", "head_dim": 12}},
}


@pytest.mark.parametrize("name", BUNDLES)
def test_tokens_pixels_logits_and_answers_equal_ours(name, tmp_path):
    bundle = made_bundle(**BUNDLES[name])
    export(bundle, tmp_path / "hf")
    verified = verify(bundle, tmp_path / "hf", prompts=4)
    assert verified.prompts == 4 and verified.logit_difference <= 1e-5
    assert verified.ties == 0 and verified.new_tokens > 4


@pytest.mark.parametrize(("name", "kind"), [("qwen3-moe", "qwen3_moe"), ("olmoe", "olmoe")])
def test_experts_go_to_a_public_family(name, kind, tmp_path):
    bundle = made_bundle(**BUNDLES[name])
    export(bundle, tmp_path / "hf")
    raw = json.loads((tmp_path / "hf" / "config.json").read_text())["text_config"]
    moe = bundle.model.config.decoder.moe
    assert moe is not None and raw["model_type"] == kind
    assert (raw["num_experts"], raw["num_experts_per_tok"]) == (moe.experts, moe.top_k)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "hf", trust_remote_code=True)
    theirs = sum(parameter.numel() for parameter in model.model.language_model.parameters())
    ours = sum(
        parameter.numel() for name, parameter in bundle.model.decoder.named_parameters() if name != "untied_head.weight"
    )
    assert theirs == ours


@pytest.mark.parametrize("to", ["hf", "llava"])
def test_large_weights_lie_in_shards(to, tmp_path):
    bundle = made_bundle(**LLAVA, decoder=LLAMA)
    export(bundle, tmp_path / "whole", to)
    export(bundle, tmp_path / "out", to, shard_bytes=100_000)
    shards = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(shards) > 2 and not (tmp_path / "out" / "model.safetensors").exists()
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    whole = load_file(tmp_path / "whole" / "model.safetensors")
    found = {name: (tensor, path.name) for path in shards for name, tensor in load_file(path).items()}
    assert found.keys() == whole.keys() and all(torch.equal(found[name][0], whole[name]) for name in whole)
    assert index["weight_map"] == {name: file for name, (_, file) in found.items()}
    for path in shards:
        tensors = load_file(path)
        assert len(tensors) == 1 or sum(tensor.nbytes for tensor in tensors.values()) <= 100_000
    assert verify(bundle, tmp_path / "out", to, prompts=2).logit_difference <= 1e-5


def test_an_export_can_verify_itself(tmp_path):
    verified = export(made_bundle(), tmp_path / "hf", check=True)
    assert verified is not None and verified.prompts == PROMPTS and verified.new_tokens > PROMPTS
    assert verified.logit_difference <= 1e-5


def test_the_folder_needs_trust_and_holds_every_class(tmp_path):
    export(made_bundle(), tmp_path / "hf")
    with pytest.raises(ValueError, match="trust_remote_code"):
        AutoConfig.from_pretrained(tmp_path / "hf", trust_remote_code=False)
    names = {path.name for path in (tmp_path / "hf").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "LICENSE-NOTE.txt"} <= names
    assert not any("mm15." in path.read_text() for path in (tmp_path / "hf").glob("*.py")), "the code stands alone"
    base = AutoModel.from_pretrained(tmp_path / "hf", trust_remote_code=True)
    assert type(base).__name__ == "MM15Model" and base.language_model is not None
    assert type(base.get_encoder(modality="image")).__name__ == "SiglipVisionModel"
    whole = AutoModelForImageTextToText.from_pretrained(tmp_path / "hf", trust_remote_code=True)
    assert whole.generation_config.suppress_tokens == [whole.config.image_token_id]


def test_a_saved_copy_says_the_same(tmp_path):
    bundle = made_bundle()
    export(bundle, tmp_path / "hf")
    for auto in (AutoModelForImageTextToText, AutoProcessor):
        auto.from_pretrained(tmp_path / "hf", trust_remote_code=True).save_pretrained(tmp_path / "copy")
    assert verify(bundle, tmp_path / "copy", prompts=3).prompts == 3


def test_the_tokens_of_many_conversations_equal_ours(tmp_path):
    """Typed names of special tokens, text that could melt into what stands beside it, pictures of many shapes."""
    for template, folder in ((TemplateConfig(), "own"), (CHATML, "chatml")):
        bundle = made_bundle(template=template)
        export(bundle, tmp_path / folder)
        reader = AutoProcessor.from_pretrained(tmp_path / folder, trust_remote_code=True)
        prompts = made_prompts(bundle, 40)
        picture = picture_part(Image.fromarray(np.arange(900, dtype=np.uint8).reshape(12, 25, 3)))
        for text in (" (", "\n\n", "(0,0,0", "<|im_end|>\n", "<|<|image|>image|>", ":", "<n>", ""):
            turns = (user("a" + text, picture, text, picture, text), assistant("yes" + text), user(text + "b"))
            sample = Sample("typed", "s", Category.GENERAL, turns)
            prompts.append(prompts[0].__class__(sample, bundle.processor.encode(sample, True), conversation_of(sample)))
        for prompt in prompts:
            read = reader.apply_chat_template(
                prompt.conversation, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
            )
            assert read["input_ids"][0].tolist() == prompt.encoded.tokens_T.tolist()
            if prompt.encoded.num_tiles:
                vision = bundle.model.config.vision
                expected = normalise(prompt.encoded.tiles_NCHW, vision.mean, vision.std)
                assert torch.equal(read["pixel_values"], expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "CMYK", "I;16", "sideways"])
def test_pictures_of_every_kind_become_the_same_tiles(mode, tmp_path):
    bundle = made_bundle()
    export(bundle, tmp_path / "hf")
    reader = AutoProcessor.from_pretrained(tmp_path / "hf", trust_remote_code=True)
    pixels = np.random.default_rng(0).integers(0, 256, (21, 34, 4), dtype=np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
        file = tmp_path / "p.png"
        picture.save(file)
    elif mode == "sideways":
        file = tmp_path / "p.jpg"
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels[..., :3]).save(file, exif=exif)
    else:
        file = tmp_path / ("p.tif" if mode == "CMYK" else "p.png")
        Image.fromarray(pixels, "RGBA").convert("RGB" if mode in ("P", "CMYK") else mode).convert(mode).save(file)
    sample = Sample("one", "s", Category.GENERAL, (user(picture_part(file), "what?"),))
    tiles = bundle.processor.encode(sample, answering=True).tiles_NCHW
    read = reader.image_processor(Image.open(file))
    vision = bundle.model.config.vision
    assert torch.equal(read["pixel_values"], normalise(tiles, vision.mean, vision.std))


def test_several_prompts_in_one_batch(tmp_path):
    bundle = made_bundle()
    export(bundle, tmp_path / "hf")
    reader = AutoProcessor.from_pretrained(tmp_path / "hf", trust_remote_code=True)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "hf", trust_remote_code=True)
    prompts = made_prompts(bundle, 5)
    read = reader.apply_chat_template(
        [prompt.conversation for prompt in prompts],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )
    longest = read["input_ids"].shape[1]
    together = model.generate(**read, max_new_tokens=8)[:, longest:]
    for prompt, answer in zip(prompts, together, strict=True):
        alone = reader.apply_chat_template(
            prompt.conversation, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        expected = model.generate(**alone, max_new_tokens=8)[0, alone["input_ids"].shape[1] :]
        assert answer[: len(expected)].tolist() == expected.tolist()
    assert (read["attention_mask"].sum(1) == torch.tensor([p.encoded.num_tokens for p in prompts])).all()


def test_the_cache_changes_no_answer_and_a_loss_can_be_taken(tmp_path):
    bundle = made_bundle()
    export(bundle, tmp_path / "hf")
    reader = AutoProcessor.from_pretrained(tmp_path / "hf", trust_remote_code=True)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "hf", trust_remote_code=True)
    read = reader.apply_chat_template(
        made_prompts(bundle, 2)[1].conversation, tokenize=True, return_dict=True, return_tensors="pt"
    )
    answers = [model.generate(**read, max_new_tokens=24, use_cache=cached).tolist() for cached in (True, False)]
    assert answers[0] == answers[1]
    loss = model(**read, labels=read["input_ids"]).loss
    loss.backward()
    assert model.model.multi_modal_projector.stage1[0].conv1.weight.grad.abs().max() > 0


LLAVA = {
    "vision": CLIP,
    "connector": {"kind": "mlp", "tokens": 16},
    "split": {"mode": "none", "indicator": "none"},
}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("changes", [{"decoder": LLAMA}, {"decoder": QWEN2, "template": CHATML}])
def test_llava_without_code(changes, tied, tmp_path):
    changes = changes | {"decoder": changes["decoder"] | {"tied_head": tied}}
    bundle = made_bundle(**LLAVA, **changes)
    export(bundle, tmp_path / "llava", "llava")
    assert ("language_model.lm_head.weight" in load_file(tmp_path / "llava" / "model.safetensors")) is not tied
    assert verify(bundle, tmp_path / "llava", "llava", prompts=4).logit_difference <= 1e-5
    assert not list((tmp_path / "llava").glob("*.py"))
    assert isinstance(AutoModelForImageTextToText.from_pretrained(tmp_path / "llava"), LlavaForConditionalGeneration)
    reader = AutoProcessor.from_pretrained(tmp_path / "llava")
    square = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize((40, 40))
    tiles = bundle.processor.encode(
        Sample("s", "s", Category.GENERAL, (user(picture_part(square), "?"),)), answering=True
    ).tiles_NCHW
    vision = bundle.model.config.vision
    ours = normalise(tiles, vision.mean, vision.std)
    theirs = reader.image_processor(square, return_tensors="pt")["pixel_values"]
    assert (theirs - ours).abs().max() <= 2.5 / 255 / min(vision.std), "another filter, within 2 of 255"


def test_what_is_not_exact_is_refused_with_the_change_that_would_make_it(tmp_path):
    with pytest.raises(ConfigError) as caught:
        export(made_bundle(), tmp_path / "out", "llava")
    assert caught.value.problems == [
        "connector.kind 'c-abstractor': llava has an MLP per patch; train with kind: mlp, tokens: 16",
        "vision.final_norm: llava takes the last layer without a norm behind it; train with a CLIP encoder",
        "decoder 'qwen3': readers of llava know llama, mistral, qwen2; train with a decoder of one of them",
        "split.mode 'dynamic': llava sees a picture in one tile; answer with split.mode: none",
        "split.indicator 'index': llava writes no text around a picture; train with indicator: none",
    ]
    with pytest.raises(ConfigError) as caught:
        export(made_bundle(**LLAVA, decoder=LLAMA), tmp_path / "out", "llava_next")
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "image_newline",
        "unpad",
        "overview",
        "split.mode 'none'",
    ]
    assert "takes 16 + 20 positions for one picture of 4 x 4 patches" in caught.value.problems[0]
    with pytest.raises(
        ConfigError, match=r"connector.kind 'c-abstractor': llava_next has an MLP per patch(.|\n)*final_norm"
    ):
        export(made_bundle(), tmp_path / "out", "llava_next")
    with pytest.raises(ConfigError, match="no folder of kind 'gguf'; there are hf, llava, llava_next, idefics3"):
        export(made_bundle(), tmp_path / "out", "gguf")
    with pytest.raises(ConfigError, match="vision as clip: class_token: the family has True"):
        export(made_bundle(vision={"final_norm": False}), tmp_path / "out")
    vicuna = TemplateConfig(user=Turn(prefix="USER: "))
    with pytest.raises(ConfigError, match="'USER: ' holds no special token"):
        export(made_bundle(template=vicuna), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("weights", "logits differ by"),
        ("split", "tokens differ from number"),
        ("mean", "the tiles have other pixels"),
        ("template", "tokens differ from number"),
    ],
)
def test_verify_refuses_a_folder_that_says_something_else(what, said, tmp_path):
    bundle = made_bundle()
    export(bundle, tmp_path / "hf")
    shutil.copytree(tmp_path / "hf", tmp_path / "bad")
    bad = tmp_path / "bad"
    if what == "weights":
        state = load_file(bad / "model.safetensors")
        state["model.multi_modal_projector.stage1.0.norm2.bias"][0] += 0.5
        save_file(state, bad / "model.safetensors", metadata={"format": "pt"})
    elif what == "template":
        text = (bad / "chat_template.jinja").read_text()
        (bad / "chat_template.jinja").write_text(text.replace("<|user|>", "<|system|>"))
    else:
        values = json.loads((bad / "processor_config.json").read_text())
        if what == "split":
            values["image_processor"]["split"]["overview"] = "before"
        else:
            values["image_processor"]["image_mean"] = [0.4, 0.5, 0.5]
        (bad / "processor_config.json").write_text(json.dumps(values))
    with pytest.raises(BundleError, match=said):
        verify(bundle, bad)
