import pytest

from mm15.base.config import validate
from mm15.base.errors import ConfigError
from mm15.train.run_config import OptimizerConfig, ScheduleConfig, TrainConfig


def test_a_full_config_reads():
    config = validate(
        TrainConfig,
        {
            "steps": 100,
            "optimizer": {"kind": "muon", "lr": 1e-3, "muon_lr": 2e-3, "lr_scale": {"vision": 0}},
            "schedule": {"warmup": 10, "final": 0.1},
        },
    )
    assert config.optimizer.muon_lr == 2e-3
    assert config.schedule.warmup == 10
    assert config.keep >= 2


@pytest.mark.parametrize(
    ("schema", "raw", "said"),
    [
        (OptimizerConfig, {"kind": "adamw", "muon_lr": 1e-3}, "muon_lr needs kind: muon"),
        (OptimizerConfig, {"kind": "adamw", "momentum": 0.9}, "adamw takes betas"),
        (OptimizerConfig, {"betas": [0.9, 1.0]}, "betas.1"),
        (OptimizerConfig, {"lr_scale": {"vision": -1}}, "lr_scale.vision"),
        (OptimizerConfig, {"lr": "mm1"}, "mm1-law"),
        (ScheduleConfig, {"warmup": 2.5}, "whole number of steps"),
        (TrainConfig, {"steps": 10, "keep": 1}, "keep"),
        (TrainConfig, {"steps": 10, "accumulate": 1}, "accumulation"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_hint(schema, raw, said):
    with pytest.raises(ConfigError, match=said):
        validate(schema, raw)
