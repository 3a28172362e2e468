"""``extends:`` takes a file beside, a shipped recipe, or several; what is not there is named with what is."""

from pathlib import Path

import pytest

from mm15.base.config import read_yaml
from mm15.base.errors import ConfigError


def test_a_recipe_extends_a_shipped_one_by_name_and_a_file_beside_comes_first(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("extends: sft-mini\nname: mine\nmixture: {groups: {text: {weight: 0.5}}}\n")
    found = read_yaml(tmp_path / "mine.yaml")
    assert (found["name"], found["stage"], found["size"]) == ("mine", "sft", "mini")
    assert found["mixture"]["groups"]["text"] == {"weight": 0.5, "members": {"text_only": 1.0}}
    (tmp_path / "sft-mini.yaml").write_text("stage: own\n")
    assert read_yaml(tmp_path / "mine.yaml")["stage"] == "own"


def test_several_are_merged_in_order(tmp_path: Path):
    (tmp_path / "d1").mkdir()
    (tmp_path / "d1/sources.yaml").write_text("sources: [{name: a}]\n")
    (tmp_path / "mine.yaml").write_text("extends: [sft-mini, d1/sources.yaml]\nname: mine\n")
    found = read_yaml(tmp_path / "mine.yaml")
    assert found["sources"] == [{"name": "a"}] and found["stage"] == "sft" and found["name"] == "mine"


def test_what_is_not_there_is_named(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("extends: sft-mimi\n")
    with pytest.raises(ConfigError) as caught:
        read_yaml(tmp_path / "mine.yaml")
    told = str(caught.value)
    assert "extends: no such file" in told and "sft-mimi.yaml" in told and "sft-mini" in told and "mine.yaml" in told
    (tmp_path / "mine.yaml").write_text("extends: d1/sources.yaml\n")
    with pytest.raises(ConfigError, match=r"extends: no such file: .*d1/sources\.yaml$"):
        read_yaml(tmp_path / "mine.yaml")


def test_a_circle_is_named(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("extends: b\n")
    (tmp_path / "b.yaml").write_text("extends: [a]\n")
    with pytest.raises(ConfigError, match="goes in a circle"):
        read_yaml(tmp_path / "a.yaml")
