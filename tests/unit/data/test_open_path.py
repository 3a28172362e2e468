"""What a user names becomes sources: data files, built folders, recipes; and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from data_fixture import write_pictures, write_rows, write_texts
from mm15.base.errors import ConfigError
from mm15.base.types import Category
from mm15.data.open import open_path, shipped_recipes, sources_of


def problems(*arguments, **named) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        sources_of(*arguments, **named)
    return caught.value.problems


def test_a_data_file_needs_its_format_and_category(tmp_path: Path):
    write_texts(tmp_path, "notes", 3)
    (source,) = sources_of(tmp_path / "notes.jsonl", "text", "text_only")
    assert (source.name, source.config.category, len(source)) == ("notes", Category.TEXT_ONLY, 3)
    assert source.sample(1).messages[0].text.startswith("document 1 ")
    told = problems(tmp_path / "notes.jsonl")
    assert told[0].startswith("give --format: one of cauldron, coco-refs") and told[1].startswith("give --category: ")
    assert len(problems(tmp_path / "notes.jsonl", "text")) == 1


def test_a_folder_and_a_pattern(tmp_path: Path):
    for name in ("a", "b"):
        write_texts(tmp_path, name, 2)
    (folder,) = sources_of(tmp_path, "text", "text")
    (pattern,) = sources_of(tmp_path / "*.jsonl", "text", "text")
    assert (folder.name, len(folder), pattern.name, len(pattern)) == (tmp_path.name, 4, "*.jsonl", 4)
    assert pattern.root == str(tmp_path)


def test_changes_reach_the_source(tmp_path: Path):
    write_rows(tmp_path / "t.jsonl", [{"q": "why?", "a": "so"}])
    changes = ["options.question={q}", "options.answer={a}", "name=mine"]
    changes[:2] = ['options.question="{q}"', 'options.answer="{a}"']
    (source,) = sources_of(tmp_path / "t.jsonl", "qa-columns", "text_only", changes=changes)
    assert source.name == "mine" and source.sample(0).messages[1].text == "so"


def test_a_name_of_the_registry_stands_for_format_options_and_category(tmp_path: Path):
    write_rows(tmp_path / "x.jsonl", [{"text": "hello"}])
    (source,) = sources_of(tmp_path / "x.jsonl", "fineweb-edu")
    assert (source.config.format, source.config.category) == ("text", Category.TEXT)
    (told,) = problems(tmp_path / "x.jsonl", "finewebedu")
    assert "neither a format" in told and "nor a data set: unknown data set 'finewebedu' (did you mean 'fineweb" in told


def test_a_built_folder_lists_its_sources(tmp_path: Path):
    configs = [write_pictures(tmp_path, "p", 2), write_texts(tmp_path, "t", 3)]
    listed = [config.model_dump(mode="json", exclude_defaults=True) for config in configs]
    (tmp_path / "sources.yaml").write_text(yaml.safe_dump(listed), encoding="utf-8")
    for path in (tmp_path, tmp_path / "sources.yaml"):
        opened = open_path(path)
        assert [(source.name, len(source)) for source in opened.sources] == [("p", 2), ("t", 3)]
        assert opened.recipe == {} and opened.folder == tmp_path
    (told,) = problems(tmp_path.parent)
    assert str(tmp_path) in told and "name one of them" in told
    (told,) = problems(tmp_path / "sources.yaml", "text")
    assert told.startswith("--format belongs to data files")
    listed[1]["formt"] = "text"
    (tmp_path / "sources.yaml").write_text(yaml.safe_dump(listed), encoding="utf-8")
    assert problems(tmp_path)[0].startswith("sources.1.formt: unknown key (did you mean 'format'?)")


def test_a_recipe_by_file_and_by_name(tmp_path: Path, small_data: Path):
    file = tmp_path / "my.yaml"
    entry = {"name": "w", "path": "words.jsonl", "format": "llava", "category": "text_rich"}
    file.write_text(yaml.safe_dump({"max_tokens": 99, "sources": [entry]}), encoding="utf-8")
    opened = open_path(file, data=small_data, changes=["max_tokens=7"])
    assert opened.sources[0].path == small_data / "words.jsonl"
    assert (opened.recipe["max_tokens"], opened.folder) == (7, small_data)
    missing = problems("sft-mini", data=tmp_path)
    assert len(missing) == 12 and missing[0] == f"source 'scenes': no such file: {tmp_path}/scenes_general.jsonl"
    assert "sft-mini" in shipped_recipes()


def test_what_is_not_there(tmp_path: Path):
    assert problems(tmp_path / "gone.yaml") == [f"no such file: {tmp_path}/gone.yaml"]
    assert "no recipe of this name (did you mean 'sft-mini'?)" in problems("sft-mni")[0]
    assert problems(tmp_path / "gone.jsonl", "text", "text") == [f"no such file: {tmp_path}/gone.jsonl"]
    (tmp_path / "other.yaml").write_text("a: 1", encoding="utf-8")
    assert "it has no 'sources'" in problems(tmp_path / "other.yaml")[0]
    (tmp_path / "sources.yaml").write_text("- [", encoding="utf-8")
    assert problems(tmp_path)[0].startswith("not valid YAML")
    (tmp_path / "sources.yaml").write_text("", encoding="utf-8")
    assert problems(tmp_path)[0].startswith("sources: ")
