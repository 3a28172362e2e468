"""The example that finds a control: a page on disk, a question, the box on a screenshot."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from mm15.base.errors import ConfigError
from mm15.base.types import Box, Point
from mm15.build._browser import PageError
from mm15.build._shots import Element, Screen
from mm15.bundle import Bundle, save_bundle
from mm15.generate import chat as chat_module
from mm15.generate.chat import Chat
from mm15.generate.engine import Generation
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer

pytestmark = pytest.mark.ui
EXAMPLES = Path(__file__).parents[2] / "examples"
PAGE = EXAMPLES / "sign_in.html"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("find_control", EXAMPLES / "find_control.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def chat() -> Chat:
    config = ProcessorConfig(split=SplitPolicy(tile=16), tokens_per_tile=4, max_tokens=900)
    processor = Processor(config, train_tokenizer(["Where is the search icon?"], SPECIALS))
    model = MultimodalModel(with_vocab(SIZES["debug"], processor.tokenizer.vocab_size, processor.image_token))
    model.init_weights(seed=0)
    return Chat(Bundle(model, processor, {}, {}))


def say(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def stream(*_: object):
        yield text
        return Generation((7,), text, "stop")

    monkeypatch.setattr(chat_module, "stream", stream)


def test_the_smallest_element_under_the_middle_is_told(example: ModuleType):
    elements = [Element("text", (10, 10, 200, 40), "All of it"), Element("icon", (150, 10, 190, 40), mark="search")]
    screen = Screen(Image.new("RGB", (320, 568)), elements, "", [], 568)
    assert example.element_at(screen, Box(140, 0, 200, 50)) is elements[1]
    assert example.told(example.element_at(screen, Point(20, 20))) == "text 'All of it'"
    assert example.told(example.element_at(screen, Point(300, 500))) == "no element of the page"
    assert example.told(Element("picture", (0, 0, 9, 9))) == "picture"


def test_windows_and_pages_that_are_none_are_named(example: ModuleType, chat: Chat, tmp_path: Path):
    assert example.window("320x568") == (320, 568)
    for wrong in ("320", "320x", "ax5", "1x568", "320x9999"):
        with pytest.raises(ConfigError, match=f"'{wrong}' is no window"):
            example.window(wrong)
    with pytest.raises(ConfigError, match=r"no such page: .*gone\.html"):
        example.find_control(chat, tmp_path / "gone.html", "it", (320, 568))


@pytest.mark.browser
def test_a_box_is_drawn_where_the_answer_says(
    example: ModuleType, chat: Chat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    # [862, 21, 962, 92] of 999 on 320 x 568: over the search icon at (276, 12, 308, 52).
    say(monkeypatch, "[862, 21, 962, 92]")
    found = example.find_control(chat, PAGE, "the search icon", (320, 568))
    assert found.screen.picture.size == (320, 568) and found.screen.title == "Reading room - sign in"
    assert found.element is not None and (found.element.type, found.element.mark) == ("icon", "search")
    monkeypatch.setattr(example.mm15, "load", lambda bundle: chat)
    out = tmp_path / "found.png"
    assert example.main(["BUNDLE", str(PAGE), "the search icon", "--out", str(out)]) == 0
    assert "there: icon 'search'" in capsys.readouterr().out
    drawn, plain = np.asarray(Image.open(out).convert("RGB"), int), np.asarray(found.screen.picture, int)
    changed = np.argwhere(np.abs(drawn - plain).sum(2) > 60)
    x1, y1, x2, y2 = (862 / 999 * 320, 21 / 999 * 568, 962 / 999 * 320, 92 / 999 * 568)
    assert len(changed) and changed[:, 1].min() > x1 - 8 and changed[:, 0].min() > y1 - 24
    edge = changed[np.abs(changed[:, 0] - y2) < 4]
    assert len(edge) > 0.7 * (x2 - x1), "the lower edge of the box is drawn"


@pytest.mark.browser
def test_a_real_bundle_an_answer_without_a_place_and_a_page_that_shows_nothing(
    example: ModuleType, chat: Chat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    save_bundle(tmp_path / "bundle", chat.bundle.model, chat.bundle.processor)
    say(monkeypatch, "in the upper right")
    assert example.main([str(tmp_path / "bundle"), str(PAGE), "the search icon", "--out", str(tmp_path / "x.png")]) == 1
    assert "The answer names no place" in capsys.readouterr().out and not (tmp_path / "x.png").exists()
    (tmp_path / "bare.html").write_text("<!doctype html><title>Bare</title>nothing")
    with pytest.raises(PageError, match="fewer than three elements can be seen"):
        example.find_control(chat, tmp_path / "bare.html", "it", (320, 568))
    assert example.main([str(tmp_path / "bundle"), str(tmp_path / "bare.html"), "it"]) == 2
    assert "find_control: fewer than three elements" in capsys.readouterr().err
