"""The documents stay true: the README tree names every file, its commands exist, docs/PAPER.md names real files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml
from typer.testing import CliRunner

from mm15.evals.benchmark import known

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def tree_lines() -> list[str]:
    block = re.search(r"```text\n(README\.md.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert block, "README.md has no tree in a ```text block"
    return block.group(1).splitlines()


def test_the_readme_tree_has_a_sentence_for_every_module_and_recipe():
    named: set[str] = set()
    folder: list[str] = []
    for line in tree_lines():
        depth = (len(line) - len(line.lstrip(" "))) // 2
        name, _, sentence = line.strip().partition("  ")
        assert sentence.strip(), f"no sentence: {line!r}"
        folder = [*folder[:depth], name.rstrip("/")]
        named.add("/".join(folder))
    files = [p for p in (ROOT / "src/mm15").rglob("*") if p.suffix in {".py", ".yaml"} and "assets" not in p.parts]
    wanted = {str(p.relative_to(ROOT)) for p in files if p.name != "__init__.py"} | {"src/mm15/__init__.py"}
    missing = sorted(wanted - named)
    assert not missing, "not in the README tree:\n" + "\n".join(missing)
    gone = sorted(name for name in named if not (ROOT / name).exists())
    assert not gone, "in the README tree but not on disk:\n" + "\n".join(gone)


def test_the_commands_in_the_readme_exist():
    from mm15.cli import app

    runner = CliRunner()
    commands = re.findall(r"^(?:\.venv/bin/)?mm15 ((?:mix |data )?[a-z]+)", README.read_text(encoding="utf-8"), re.M)
    assert commands
    for command in sorted(set(commands)):
        result = runner.invoke(app, [*command.split(), "--help"])
        assert result.exit_code == 0, command


def test_every_recipe_starts_with_its_command():
    for path in (ROOT / "src/mm15/recipes").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert re.match(r"# mm15 train ", text), f"{path.name}: the first line is the command that runs it"
        assert isinstance(yaml.safe_load(text), dict)


def test_the_paper_table_names_files_that_exist():
    text = (ROOT / "docs/PAPER.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"\b((?:src|tests|docs|benchmarks)/[\w./-]+)", text))
    assert len(paths) > 20
    missing = sorted(path for path in paths if not (ROOT / path.rstrip(".")).exists())
    assert not missing, "\n".join(missing)


def test_nothing_in_the_project_reads_outside_of_it():
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        if path != Path(__file__):
            assert "../shared" not in path.read_text(encoding="utf-8"), path


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from mm15.cli import app; from typer.testing import CliRunner;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "print([m for m in ('torch', 'numpy', 'PIL', 'tokenizers', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_sources_in_the_data_guide_are_sources_and_its_formats_are_all_there_are():
    from mm15.base.catalogue import names
    from mm15.base.config import validate
    from mm15.data.source import SourceConfig

    text = (ROOT / "docs/DATA.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.S)]
    sources = [source for block in blocks for source in (block["sources"] if isinstance(block, dict) else block)]
    assert len(sources) >= 5
    for source in sources:
        validate(SourceConfig, source, where=source["name"])
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", text, re.M)) == names("mm15.datasets")


def test_the_evaluation_guide_names_every_benchmark():
    guide = (ROOT / "docs/EVAL.md").read_text(encoding="utf-8")
    assert [name for name in known() if f"| `{name}` |" not in guide] == []
