"""Our C-Abstractor against recorded outputs of the reference module."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from mm15.model.connector import CAbstractor
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
