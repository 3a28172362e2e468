"""Our encoder against CLIP and SigLIP of transformers at random weights."""

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel

from mm15.model.sizes import CLIP_MEAN, CLIP_STD, VisionConfig
from mm15.model.vit import VisionTransformer
from parity.hf_maps import randomise, vision_weights

SIZES = {"image_size": 24, "patch_size": 4}
THEIRS = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 56, **SIZES}
OURS = {"width": 32, "layers": 3, "heads": 4, "mlp_width": 56, **SIZES}
TILES = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_clip(activation):
    theirs = CLIPVisionModel(CLIPVisionConfig(hidden_act=activation, **THEIRS)).eval()
    randomise(theirs)
    config = VisionConfig(
        activation=activation,
        class_token=True,
        pre_norm=True,
        patch_bias=False,
        final_norm=False,
        norm_eps=1e-5,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        **OURS,
    )
    ours = VisionTransformer(config)
    ours.load_state_dict(vision_weights(theirs))
    with torch.no_grad():
        expected = theirs(pixel_values=TILES).last_hidden_state[:, 1:]
        torch.testing.assert_close(ours(TILES), expected, atol=1e-5, rtol=1e-5)


def test_siglip():
    theirs = SiglipVisionModel(SiglipVisionConfig(vision_use_head=False, **THEIRS)).eval()
    randomise(theirs)
    ours = VisionTransformer(VisionConfig(activation="gelu_tanh", **OURS))
    ours.load_state_dict(vision_weights(theirs))
    with torch.no_grad():
        expected = theirs(pixel_values=TILES).last_hidden_state
        torch.testing.assert_close(ours(TILES), expected, atol=1e-5, rtol=1e-5)
