"""Our connectors against recorded outputs, references written out here, and the public types that have the same one."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F
from transformers import CLIPVisionConfig, Idefics3Config, LlamaConfig, LlavaConfig
from transformers.models.idefics3.modeling_idefics3 import Idefics3Connector
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from mm15.model.connector import CAbstractor, build_connector
from mm15.model.layers import init_weights
from mm15.model.sizes import ConnectorConfig
from parity.hf_maps import abstractor_weights

ASSETS = Path(__file__).parents[1] / "assets"


@pytest.mark.parametrize("name", ["c_abstractor_grid16", "c_abstractor_grid27_81tokens"])
def test_c_abstractor_equals_the_recorded_reference(name):
    with safe_open(str(ASSETS / f"{name}.safetensors"), "pt") as file:
        sizes = {key: int(value) for key, value in file.metadata().items()}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    config = ConnectorConfig(
        tokens=sizes["tokens"], hidden=sizes["hidden"], depth=sizes["depth"], mlp_depth=sizes["mlp_depth"]
    )
    connector = CAbstractor(config, sizes["encoder_width"], sizes["grid"], sizes["out"])
    params = {key.removeprefix("param."): value for key, value in tensors.items() if key.startswith("param.")}
    connector.load_state_dict(abstractor_weights(params))
    with torch.no_grad():
        torch.testing.assert_close(connector(tensors["input"]), tensors["output"], atol=1e-5, rtol=0)


def norm2d(x_NCHW, layer):
    """Layer norm over channels, written out."""
    mean = x_NCHW.mean(1, keepdim=True)
    variance = (x_NCHW - mean).square().mean(1, keepdim=True)
    normed = (x_NCHW - mean) / (variance + 1e-5).sqrt()
    return normed * layer.weight[:, None, None] + layer.bias[:, None, None]


def convolve(x_NCHW, linear):
    """A 1 x 1 convolution, written out as one."""
    return F.conv2d(x_NCHW, linear.weight[:, :, None, None], linear.bias)


def bottleneck(x_NCHW, block):
    """RegNet's block as the reference lays it out: channels first, real convolutions."""
    main = F.silu(norm2d(convolve(x_NCHW, block.conv1), block.norm1))
    width = main.shape[1]
    main = F.silu(norm2d(F.conv2d(main, block.conv2.weight, padding=1, groups=width), block.norm2))
    gate = convolve(F.silu(convolve(main.mean((2, 3), keepdim=True), block.squeeze)), block.excite).sigmoid()
    main = norm2d(convolve(main * gate, block.conv3), block.norm3)
    skip = x_NCHW if block.skip is None else norm2d(convolve(x_NCHW, block.skip), block.skip_norm)
    return F.silu(main + skip)


def pool_bins(x_NCHW, size):
    """Adaptive average pooling bin by bin: from floor(k H / size) up to ceil((k + 1) H / size)."""
    side = x_NCHW.shape[-1]
    bins = [slice(k * side // size, -(-(k + 1) * side // size)) for k in range(size)]
    return torch.stack([torch.stack([x_NCHW[:, :, r, c].mean((2, 3)) for c in bins], -1) for r in bins], -2)


@pytest.mark.parametrize(("grid", "tokens"), [(16, 144), (27, 144), (27, 81), (48, 144), (48, 36)])
def test_c_abstractor_equals_the_definition_written_out(grid, tokens):
    connector = CAbstractor(ConnectorConfig(tokens=tokens, hidden=12, depth=2), 20, grid, 10)
    init_weights(connector, grid + tokens)
    generator = torch.Generator().manual_seed(grid)
    with torch.no_grad():
        for parameter in connector.parameters():
            if parameter.ndim == 1:
                parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
        x_NPC = torch.randn(2, grid**2, 20, generator=generator)
        x_NCHW = (x_NPC + connector.positions.weight).transpose(1, 2).reshape(2, 20, grid, grid)
        for block in connector.stage1:
            x_NCHW = bottleneck(x_NCHW, block)
        x_NCHW = pool_bins(x_NCHW, int(tokens**0.5))
        for block in connector.stage2:
            x_NCHW = bottleneck(x_NCHW, block)
        first, second = connector.read_out.layers
        tokens_NMC = x_NCHW.flatten(2).transpose(1, 2)
        expected = F.silu(tokens_NMC @ first.weight.T + first.bias) @ second.weight.T + second.bias
        torch.testing.assert_close(connector(x_NPC), expected, atol=1e-5, rtol=1e-5)


def test_mlp_equals_two_layers_and_the_projector_of_llava():
    connector = build_connector(ConnectorConfig(kind="mlp", tokens=16), 20, 4, 12)
    init_weights(connector, 0)
    torch.nn.init.normal_(connector.first.bias)
    torch.nn.init.normal_(connector.second.bias)
    vision = CLIPVisionConfig(hidden_size=20, num_attention_heads=2)
    text = LlamaConfig(hidden_size=12, num_attention_heads=2)
    theirs = LlavaMultiModalProjector(LlavaConfig(vision_config=vision, text_config=text))
    names = {"first": "linear_1", "second": "linear_2"}
    state = {
        f"{names[name.split('.')[0]]}.{name.split('.')[1]}": value for name, value in connector.state_dict().items()
    }
    theirs.load_state_dict(state)
    x_NPC = torch.randn(3, 16, 20)
    first, second = connector.first, connector.second
    inner = x_NPC @ first.weight.T + first.bias
    inner = inner * (1 + torch.erf(inner / 2**0.5)) / 2
    expected = inner @ second.weight.T + second.bias
    with torch.no_grad():
        torch.testing.assert_close(connector(x_NPC), expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(connector(x_NPC), theirs(x_NPC), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("grid", "scale"), [(6, 2), (6, 3), (4, 1)])
def test_pixel_shuffle_equals_squares_picked_out_and_the_connector_of_idefics3(grid, scale):
    side = grid // scale
    connector = build_connector(ConnectorConfig(kind="pixel-shuffle", tokens=side**2), 8, grid, 12)
    init_weights(connector, 0)
    vision = {"hidden_size": 8, "num_attention_heads": 2, "image_size": grid, "patch_size": 1}
    text = LlamaConfig(hidden_size=12, num_attention_heads=2)
    theirs = Idefics3Connector(Idefics3Config(vision_config=vision, text_config=text, scale_factor=scale))
    theirs.modality_projection.proj.load_state_dict({"weight": connector.projection.weight})
    x_NPC = torch.randn(3, grid**2, 8)
    squares = [
        torch.cat([x_NPC[:, (row * scale + r) * grid + col * scale + c] for r in range(scale) for c in range(scale)], 1)
        for row in range(side)
        for col in range(side)
    ]
    expected = torch.stack(squares, 1) @ connector.projection.weight.T
    with torch.no_grad():
        torch.testing.assert_close(connector(x_NPC), expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(connector(x_NPC), theirs(x_NPC), atol=1e-6, rtol=1e-5)
