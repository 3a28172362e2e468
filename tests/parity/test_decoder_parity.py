"""Our decoder against Llama, Qwen2 and Qwen3 of transformers at random weights."""

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from mm15.model.decoder import Decoder, Stream
from mm15.model.sizes import DecoderConfig
from parity.hf_maps import decoder_weights, randomise

FAMILIES = {
    "llama": (LlamaForCausalLM, LlamaConfig, {"head_dim": 10, "tie_word_embeddings": True}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {"tie_word_embeddings": False}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 16, "tie_word_embeddings": True}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_logits(family):
    model_class, config_class, more = FAMILIES[family]
    theirs = model_class(
        config_class(
            vocab_size=71,
            hidden_size=40,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=56,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
            **more,
        )
    ).eval()
    randomise(theirs)
    ours = Decoder(
        DecoderConfig(
            vocab_size=71,
            width=40,
            layers=3,
            heads=4,
            kv_heads=2,
            head_dim=more.get("head_dim", 10),
            mlp_width=56,
            rope_theta=5000.0,
            norm_eps=1e-5,
            qkv_bias=family == "qwen2",
            qk_norm=family == "qwen3",
            tied_head=more["tie_word_embeddings"],
        )
    )
    ours.load_state_dict(decoder_weights(theirs))
    lengths = (23, 5, 11, 22)
    tokens = [torch.randint(0, 71, (n,), generator=torch.Generator().manual_seed(n)) for n in lengths]
    positions_T = torch.cat([torch.arange(n) for n in lengths])
    borders = (0, 23, 28, 39, 61)
    with torch.no_grad():
        expected = torch.cat([theirs(input_ids=ids[None]).logits[0] for ids in tokens])
        stream = Stream(ours.config, positions_T, borders, torch.float32)
        found = ours.head(ours(ours.embed(torch.cat(tokens), torch.float32), stream))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
