from __future__ import annotations

import pytest

from mm15.base.errors import ConfigError
from mm15.plan.hardware import cluster_of


def test_a_count_and_a_device():
    cluster = cluster_of("64xh200")
    assert (cluster.count, cluster.name, cluster.device.memory_gib) == (64, "H200", 141)
    assert cluster_of("H100").count == 1
    assert cluster_of("2xcpu").told == "2xcpu"


@pytest.mark.parametrize(
    ("told", "what"), [("64xH20", "did you mean 'H200'"), ("0xH200", "COUNTxDEVICE"), ("x", "known: A100")]
)
def test_what_is_no_hardware_is_refused(told: str, what: str):
    with pytest.raises(ConfigError, match=what):
        cluster_of(told)
