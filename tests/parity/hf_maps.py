"""Weights of the public implementations under our names, for the parity tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Give every one-dimensional parameter a random value: norms and biases must not pass as ones and zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim <= 1:
                parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter[0].numel() ** -0.5)


def vision_weights(model: nn.Module) -> dict[str, Tensor]:
    """A CLIP or SigLIP vision tower of transformers as the state of our ``VisionTransformer``."""
    state = {name.removeprefix("vision_model."): value for name, value in model.state_dict().items()}
    ours = {"positions.weight": state["embeddings.position_embedding.weight"]}
    patch = state["embeddings.patch_embedding.weight"]
    ours["patch.weight"] = patch.flatten(1)
    if "embeddings.patch_embedding.bias" in state:
        ours["patch.bias"] = state["embeddings.patch_embedding.bias"]
    if "embeddings.class_embedding" in state:
        ours["class_token.weight"] = state["embeddings.class_embedding"][None]
    names = {"layer_norm1": "attention_norm", "layer_norm2": "mlp_norm", "mlp.fc1": "up", "mlp.fc2": "down"}
    names["self_attn.out_proj"] = "out"
    layers = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("encoder.layers."))
    for kind in ("weight", "bias"):
        for layer in range(layers):
            theirs = f"encoder.layers.{layer}."
            for their_name, our_name in names.items():
                ours[f"blocks.{layer}.{our_name}.{kind}"] = state[f"{theirs}{their_name}.{kind}"]
            ours[f"blocks.{layer}.qkv.{kind}"] = torch.cat([state[f"{theirs}self_attn.{x}_proj.{kind}"] for x in "qkv"])
        if "pre_layrnorm.weight" in state:
            ours[f"pre_norm.{kind}"] = state[f"pre_layrnorm.{kind}"]
        else:
            ours[f"final_norm.{kind}"] = state[f"post_layernorm.{kind}"]
    return ours


def decoder_weights(model: nn.Module) -> dict[str, Tensor]:
    """A Llama, Qwen2 or Qwen3 language model of transformers as the state of our ``Decoder``."""
    state = {name.removeprefix("model."): value for name, value in model.state_dict().items()}
    ours = {"embedding.weight": state["embed_tokens.weight"], "final_norm.weight": state["norm.weight"]}
    if state["lm_head.weight"].data_ptr() != state["embed_tokens.weight"].data_ptr():
        ours["untied_head.weight"] = state["lm_head.weight"]
    layers = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers."))
    for layer in range(layers):
        theirs, block = f"layers.{layer}.", f"blocks.{layer}."
        ours[f"{block}attention_norm.weight"] = state[f"{theirs}input_layernorm.weight"]
        ours[f"{block}mlp_norm.weight"] = state[f"{theirs}post_attention_layernorm.weight"]
        ours[f"{block}attention.out.weight"] = state[f"{theirs}self_attn.o_proj.weight"]
        ours[f"{block}mlp.down.weight"] = state[f"{theirs}mlp.down_proj.weight"]
        ours[f"{block}mlp.gate_up.weight"] = torch.cat([state[f"{theirs}mlp.{x}_proj.weight"] for x in ("gate", "up")])
        for kind in ("weight", "bias"):
            if f"{theirs}self_attn.q_proj.{kind}" in state:
                parts = [state[f"{theirs}self_attn.{x}_proj.{kind}"] for x in "qkv"]
                ours[f"{block}attention.qkv.{kind}"] = torch.cat(parts)
        for name in ("q_norm", "k_norm"):
            if f"{theirs}self_attn.{name}.weight" in state:
                ours[f"{block}attention.{name}.weight"] = state[f"{theirs}self_attn.{name}.weight"]
    return ours


def abstractor_weights(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of the reference C-Abstractor as the state of our ``CAbstractor``."""
    names = {
        "conv1.conv": "conv1",
        "conv1.bn": "norm1",
        "conv2.conv": "conv2",
        "conv2.bn": "norm2",
        "conv3.conv": "conv3",
        "conv3.bn": "norm3",
        "se.fc1": "squeeze",
        "se.fc2": "excite",
        "downsample.conv": "skip",
        "downsample.bn": "skip_norm",
    }
    ours = {}
    for name, value in params.items():
        parts = name.split(".")
        if name == "pos_emb":
            ours["positions.weight"] = value[0]
        elif parts[0] == "readout":
            ours[f"read_out.layers.{int(parts[1]) // 2}.{parts[2]}"] = value
        else:
            stage, block, inner, kind = int(parts[1]) // 2 + 1, int(parts[2][1:]) - 1, ".".join(parts[3:-1]), parts[-1]
            is_dense = value.ndim == 4 and inner != "conv2.conv"
            ours[f"stage{stage}.{block}.{names[inner]}.{kind}"] = value.flatten(1) if is_dense else value
    return ours
