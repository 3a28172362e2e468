"""Chat: pictures in any form, regions where the question says, history, replies, and the terminal."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from film_fixture import animation, small_film
from mm15.base.errors import ConfigError, DataError, PictureError, SkipSample
from mm15.base.types import (
    Box,
    Category,
    ImagePart,
    MediaRef,
    Message,
    Point,
    RegionPart,
    Role,
    Sample,
    TextPart,
    VideoPart,
)
from mm15.bundle import Bundle
from mm15.generate import chat as chat_module
from mm15.generate.chat import Chat, Reply, describe, parse_box, picture_part, talk
from mm15.generate.engine import Generation
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer


def photo(width: int = 60, height: int = 40, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def chat() -> Chat:
    config = ProcessorConfig(split=SplitPolicy(tile=16), tokens_per_tile=4, max_tokens=600)
    processor = Processor(config, train_tokenizer(["where is the dog?"], SPECIALS))
    model = MultimodalModel(with_vocab(SIZES["debug"], processor.tokenizer.vocab_size, processor.image_token))
    model.init_weights(seed=0)
    return Chat(Bundle(model, processor, {}, {}))


@pytest.fixture
def says(monkeypatch):
    """Put answers into the model's mouth; the samples it was asked lie in ``says.asked``."""

    class Mouth:
        text = "the dog [100, 200, 500, 600]"

        def __init__(self):
            self.asked = []

    mouth = Mouth()

    def stream(model, processor, encoded, max_new_tokens, sampling, stop=(), features=None):
        mouth.asked.append((encoded, max_new_tokens, sampling))
        yield mouth.text[:3]
        yield mouth.text[3:]
        return Generation((7, 8, 9), mouth.text, "stop")

    monkeypatch.setattr(chat_module, "stream", stream)
    return mouth


def parts_of(reply: Reply, turn: int = -2) -> list:
    """The question of a reply, pictures as their size."""
    return [
        (part.width, part.height)
        if isinstance(part, ImagePart)
        else getattr(part, "text", getattr(part, "region", None))
        for part in reply.messages[turn].parts
    ]


def test_the_whole_walk_with_the_real_model(chat):
    reply = chat.ask("where is the dog?", images=[photo()], max_new_tokens=6)
    assert reply.stop_reason in ("stop", "length")
    encoded = chat.bundle.processor.count(sample_of(reply), answering=True)
    assert reply.tiles == encoded.tiles > 1
    assert encoded.tokens <= reply.tokens <= encoded.tokens + 6
    assert reply == chat.ask("where is the dog?", images=[png(photo())], max_new_tokens=6)


def sample_of(reply: Reply) -> Sample:
    return Sample("k", "s", Category.GENERAL, reply.messages[:-1])


def test_pictures_as_file_name_bytes_and_image(tmp_path, chat, says):
    path = tmp_path / "ä b.png"
    path.write_bytes(png(photo()))
    reply = chat.ask("what?", images=[path, str(path), path.read_bytes(), photo(50, 70)])
    assert parts_of(reply) == [(60, 40), (60, 40), (60, 40), (50, 70), "\n", "what?"]
    tiles = says.asked[0][0].tiles_NCHW
    assert tiles[0].equal(tiles[1])
    assert tiles[1].equal(tiles[2])


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "CMYK", "F", "1"])
def test_open_images_of_any_mode(mode):
    part = picture_part(photo(mode=mode))
    assert (part.width, part.height) == (60, 40)


def test_an_open_image_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    path = tmp_path / "turned.jpg"
    photo(60, 40).save(path, exif=exif)
    with Image.open(path) as image:
        part = picture_part(image)
    assert (part.width, part.height) == (40, 60)
    assert (part.width, part.height) == (picture_part(path).width, picture_part(path).height)


def test_unreadable_pictures_are_named(tmp_path, chat):
    with pytest.raises(SkipSample, match=r"gone\.png"):
        chat.ask("what?", images=[tmp_path / "gone.png"])
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(PictureError, match=r"text\.png"):
        chat.ask("what?", images=[tmp_path / "text.png"])


def test_regions_stand_where_the_question_says(chat, says):
    box, point = Box(3, 4, 30, 20), Point(5, 6)
    reply = chat.ask("is [] or <region> big?", images=[photo()], regions=[box, point])
    assert parts_of(reply) == [(60, 40), "\n", "is ", box, " or ", point, " big?"]
    reply = chat.ask("is [ ] big?", images=[photo()], regions=[[3, 4, 30, 20], [5, 6]])
    assert parts_of(reply) == [(60, 40), "\n", "is ", box, " big?", " ", point]
    reply = chat.ask("what is an empty list []?", images=[photo()])
    assert parts_of(reply)[-1] == "what is an empty list []?", "without regions it is text"


def test_regions_that_cannot_be_are_named(chat):
    with pytest.raises(DataError, match="2 places for regions, but 1 were given"):
        chat.ask("[] and []", images=[photo()], regions=[[1, 2, 3, 4]])
    with pytest.raises(DataError, match="a region needs a picture"):
        chat.ask("[]", regions=[[1, 2, 3, 4]])
    with pytest.raises(DataError, match=r"four numbers .* or two .* found 3"):
        chat.ask("[]", images=[photo()], regions=[[1, 2, 3]])
    with pytest.raises(DataError, match="outside its 60×40 picture"):
        chat.ask("[]", images=[photo()], regions=[[100, 2, 130, 4]])
    with pytest.raises(DataError, match="picture 3"):
        chat.ask("[]", images=[photo()], regions=[Box(1, 2, 3, 4, image=3)])


def test_a_reply_gives_regions_in_pixels_and_as_written(chat, says):
    reply = chat.ask("where?", images=[photo()])
    (found,) = reply.regions
    assert found.region == Box(6, 8, 30, 24)
    assert found.norm == (100, 200, 500, 600)
    assert describe(found) == "dog: box (6, 8, 30, 24) px of picture 0"
    assert (reply.text, reply.stop_reason, len(reply.images)) == ("the dog [100, 200, 500, 600]", "stop", 1)
    assert reply.tokens == says.asked[0][0].num_tokens + 3
    plain = json.loads(json.dumps(reply.to_json()))
    assert plain["regions"] == [
        {"label": "dog", "kind": "box", "pixels": [6, 8, 30, 24], "norm": [100, 200, 500, 600], "image": 0}
    ]
    assert plain["annotated"] is None


def test_an_annotated_copy_is_written(tmp_path, chat, says):
    reply = chat.ask("where?", images=[photo()])
    path = reply.save_annotated(tmp_path / "out" / "drawn.png")
    with Image.open(path) as drawn:
        before, after = np.asarray(photo()).astype(int), np.asarray(drawn.convert("RGB")).astype(int)
    assert after.shape == (40, 60, 3)
    changed = np.abs(after - before).sum(-1) > 0
    assert changed[8, 6:31].all(), "the upper edge of the box"
    assert not changed[30:, 35:].any(), "far from it nothing changes"
    with pytest.raises(DataError, match="no picture to draw on"):
        chat.ask("hello").save_annotated(tmp_path / "x.png")


def test_history_carries_pictures_and_turns(chat, says):
    first = chat.ask("what?", images=[photo(60, 40)])
    second = chat.ask("where is []?", regions=[[1, 2, 30, 20]], history=first.messages)
    assert [message.role for message in second.messages] == [Role.USER, Role.ASSISTANT] * 2
    assert parts_of(second) == ["where is ", Box(1, 2, 30, 20), "?"]
    assert len(second.images) == 1
    third = chat.ask("and []?", images=[photo(80, 50)], regions=[[1, 2, 30, 20]], history=second.messages)
    assert parts_of(third) == [(80, 50), "\n", "and ", Box(1, 2, 30, 20, image=1), "?"]
    assert third.regions[0].region == Box(8, 10, 40, 30, image=1), "in pixels of the new picture"
    assert third.annotated().size == (80, 50)
    fourth = chat.ask("more?", history=third.messages)
    assert fourth.regions[0].region.image == 1


def test_text_alone_has_no_regions(chat, says):
    reply = chat.ask("hello")
    assert (reply.regions, reply.tiles, reply.images) == ((), 0, ())


@pytest.mark.video
def test_a_clip_is_seen_by_its_frames(tmp_path, chat, says):
    film = small_film(tmp_path / "a.mp4")
    reply = chat.ask("what happens?", video=film)
    (encoded, _, _) = says.asked[0]
    assert reply.tiles == encoded.num_tiles == 24 and reply.images == () and reply.regions == ()
    assert reply.messages[0].parts == (VideoPart(MediaRef(str(film))), TextPart("\n"), TextPart("what happens?"))
    told = chat.bundle.processor.tokenizer.decode(encoded.tokens_T.tolist(), skip_special=False)
    assert "(23,0,0)" in told and "(24,0,0)" not in told
    (tmp_path / "b.gif").write_bytes(animation(range(4), [100] * 4))
    both = chat.ask("and here?", images=[photo()], video=VideoPart(MediaRef(str(tmp_path / "b.gif")), 5))
    assert both.tiles == 5 + chat.ask("?", images=[photo()]).tiles and both.regions[0].region.image == 0
    later = chat.ask("and then?", history=reply.messages)
    assert later.tiles == 24
    with pytest.raises(PictureError, match=r"none.mp4: .*cannot be read|not a readable film"):
        (tmp_path / "none.mp4").write_bytes(b"text")
        chat.ask("?", video=tmp_path / "none.mp4")
    with pytest.raises(SkipSample, match="No such file"):
        chat.ask("?", video=tmp_path / "gone.mp4")


@pytest.mark.video
def test_talk_takes_clips(tmp_path, chat, says, monkeypatch, capsys):
    film = small_film(tmp_path / "a.mp4")
    lines = iter([f"/video {film}", "what happens?", "again?", "/video gone.mp4", "/quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    talk(chat)
    assert [encoded.num_tiles for encoded, _, _ in says.asked] == [24, 24]
    assert "mm15: gone.mp4: cannot be read" in capsys.readouterr().out


def test_a_picture_asked_about_again_is_not_encoded_again(chat):
    again = Chat(chat.bundle)
    first = again.ask("where is the dog?", images=[photo(50, 30)], max_new_tokens=3)
    encoded = again._features.encoded
    again.ask("where?", history=first.messages, max_new_tokens=3)
    assert again._features.encoded == encoded > 0
    assert again._features.reused >= encoded
    assert again.ask("where is the dog?", images=[photo(50, 30)], max_new_tokens=3).text == first.text


def test_sampling_reaches_the_engine(chat, says):
    chat.ask("hello", max_new_tokens=5, temperature=0.5, top_p=0.9, seed=4)
    _, most, sampling = says.asked[0]
    assert (most, sampling.temperature, sampling.top_p, sampling.seed) == (5, 0.5, 0.9, 4)


def test_a_conversation_that_is_too_long_is_refused(chat):
    with pytest.raises(DataError, match="more than max_tokens = 600"):
        chat.ask("dog " * 400)


@pytest.mark.parametrize("text", ["1,2,30,40", "1, 2, 30, 40", "[1 2 30 40]", "(1,2,30,40)"])
def test_parse_box(text):
    assert parse_box(text) == Box(1, 2, 30, 40)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,x", "1,2,3,4,5", "3,4,1,2", "1,2,nan,4"])
def test_parse_box_refuses(text):
    with pytest.raises(ConfigError, match=r"expected x1.*found"):
        parse_box(text)


def test_talk_is_a_conversation(tmp_path, chat, says, monkeypatch, capsys):
    path = tmp_path / "a.png"
    path.write_bytes(png(photo()))
    lines = iter(
        [
            "/help",
            "/image gone.png",
            f"/image {path}",
            "/box 1,2,x",
            "/box 1,2,30,20",
            "what is []?",
            "",
            "and?",
            "/quit",
        ]
    )
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    talk(chat, annotated=tmp_path / "drawn.png")
    said = capsys.readouterr().out
    assert said.count("the dog [100, 200, 500, 600]") == 2
    assert "gone.png" in said
    assert "expected x1,y1,x2,y2" in said
    assert "dog: box (6, 8, 30, 24) px of picture 0" in said
    assert (tmp_path / "drawn.png").is_file()
    first, second = (asked[0] for asked in says.asked)
    assert second.num_tiles == first.num_tiles, "the picture stays"
    assert second.num_tokens > first.num_tokens


def test_talk_starts_over_and_ends_with_the_input(chat, says, monkeypatch, capsys):
    def script():
        yield from ["hello", "/new", "hello"]
        raise EOFError

    lines = script()
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    talk(chat, [photo()])
    first, second = (asked[0] for asked in says.asked)
    assert first.tokens_T.equal(second.tokens_T)


def test_messages_are_plain_values(chat, says):
    reply = chat.ask("where?", images=[photo()])
    assert isinstance(reply.messages[-1], Message)
    assert isinstance(reply.messages[-1].parts[0], TextPart)
    assert not any(isinstance(part, RegionPart) for part in reply.messages[-1].parts)
