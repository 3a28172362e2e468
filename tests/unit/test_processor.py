"""Processor: what the model sees, what it learns, and that costs known from sizes are exact."""

from __future__ import annotations

import io
import pickle
import random
from dataclasses import replace
from itertools import product

import pytest
import torch
from PIL import Image

from mm15.base.batch import IGNORE, EncodedSample, pack
from mm15.base.errors import ConfigError, PictureError, SkipSample
from mm15.base.types import (
    Box,
    Category,
    ImagePart,
    MediaRef,
    Message,
    Part,
    Point,
    RegionPart,
    Role,
    Sample,
    TextPart,
    assistant,
    document,
    user,
)
from mm15.images.split import Indicator, Overview, SplitMode, SplitPolicy
from mm15.processor import Cost, Processor, ProcessorConfig
from mm15.text.template import CHATML, SPECIALS
from mm15.text.tokenizer import Tokenizer, train_tokenizer

TILE, PER_TILE = 16, 3
TOKENIZER = train_tokenizer(["(0,1,2):<n> some text"], (*SPECIALS, "<fake_token_around_image>"))


def processor(max_tokens: int = 4096, answer: SplitPolicy | None = None, **split) -> Processor:
    policy = SplitPolicy.model_validate({"tile": TILE, **split})
    config = ProcessorConfig(split=policy, answer_split=answer, tokens_per_tile=PER_TILE, max_tokens=max_tokens)
    return Processor(config, TOKENIZER)


def png(width: int, height: int, color: str = "red", **options) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG", **options)
    return file.getvalue()


def picture(width: int, height: int, stated: bool = True, color: str = "red") -> ImagePart:
    media = MediaRef(data=png(width, height, color))
    return ImagePart(media, width, height) if stated else ImagePart(media)


def sample(*messages: Message) -> Sample:
    return Sample("set/0/7", "set", Category.GENERAL, messages)


def asking(*parts: Part | str) -> Sample:
    return sample(user(*parts), assistant("Yes."))


def shown(encoded: EncodedSample) -> str:
    """The tokens as text, each tile as a dot."""
    text = TOKENIZER.decode(encoded.tokens_T.tolist(), skip_special=False)
    return text.replace("<|image|>" * PER_TILE, "•")


def learned(encoded: EncodedSample) -> str:
    """What the labels say, and a check that each is the next token."""
    kept = encoded.labels_T != IGNORE
    assert not kept[-1]
    assert torch.equal(encoded.labels_T[:-1][kept[:-1]], encoded.tokens_T[1:][kept[:-1]])
    return TOKENIZER.decode(encoded.labels_T[kept].tolist(), skip_special=False)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ({}, "(0,1,1)•(0,1,2)•(0,2,1)•(0,2,2)•(0,0,0)•"),
        ({"overview": Overview.BEFORE}, "(0,0,0)•(0,1,1)•(0,1,2)•(0,2,1)•(0,2,2)•"),
        ({"overview": Overview.NONE}, "(0,1,1)•(0,1,2)•(0,2,1)•(0,2,2)•"),
        ({"mode": SplitMode.NONE}, "(0,0,0)•"),
        ({"mode": SplitMode.STATIC, "indicator": Indicator.SEPS}, "•,•<n>•,•:•"),
        ({"indicator": Indicator.SEPS, "overview": Overview.BEFORE}, ":••,•<n>•,•"),
        ({"indicator": Indicator.SEPS, "overview": Overview.NONE}, "•,•<n>•,•"),
        ({"indicator": Indicator.SEPS, "mode": SplitMode.NONE}, "•"),
        ({"indicator": Indicator.NONE}, "•••••"),
    ],
)
def test_sub_images_are_announced_as_in_the_paper(split: dict, expected: str) -> None:
    encoded = processor(**split).encode(asking(picture(32, 24), "What?"))
    assert shown(encoded) == f"<|bos|><|user|>{expected}What?<|assistant|>Yes.<|end|>"
    assert learned(encoded) == "Yes.<|end|>"
    assert encoded.tiles_NCHW.shape == (expected.count("•"), 3, TILE, TILE)
    assert encoded.tiles_NCHW.dtype == torch.uint8
    pack([encoded], processor().image_token, PER_TILE).check()


def test_images_are_numbered_over_all_turns_and_three_are_not_split() -> None:
    split = processor(indicator=Indicator.INDEX, overview=Overview.NONE)
    two = sample(user(picture(32, 24), "A?"), assistant("B."), user(picture(16, 80), "C?"), assistant("D."))
    assert shown(split.encode(two)) == (
        "<|bos|><|user|>(0,1,1)•(0,1,2)•(0,2,1)•(0,2,2)•A?<|assistant|>B.<|end|>"
        "<|user|>(1,1,1)•(1,2,1)•(1,3,1)•(1,4,1)•(1,5,1)•C?<|assistant|>D.<|end|>"
    )
    three = sample(user(picture(32, 24), picture(9, 5), "A?"), assistant("B."), user(picture(16, 80)), assistant("D."))
    assert shown(split.encode(three)) == (
        "<|bos|><|user|>(0,0,0)•(1,0,0)•A?<|assistant|>B.<|end|><|user|>(2,0,0)•<|assistant|>D.<|end|>"
    )


def test_documents_learn_all_text_but_no_announcement() -> None:
    encoded = processor(mode=SplitMode.NONE).encode(sample(document("One ", picture(30, 20), "two", picture(20, 30))))
    assert shown(encoded) == "<|bos|>One (0,0,0)•two(1,0,0)•<|end|>"
    assert learned(encoded) == "One two<|end|>"
    # The last image position predicts the first word after the picture.
    after = int((encoded.tokens_T == processor().image_token).nonzero()[PER_TILE - 1])
    assert TOKENIZER.decode([int(encoded.labels_T[after])]) == "t"


def test_tiles_keep_the_order_of_pictures() -> None:
    mixed = asking(picture(32, 24, color="red"), "and", picture(24, 40, color="blue"), "?")
    tiles_NCHW = processor(mode=SplitMode.NONE).encode(mixed).tiles_NCHW
    assert tiles_NCHW[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255]]


def test_text_only() -> None:
    encoded = processor().encode(sample(Message(Role.SYSTEM, (TextPart("Be."),)), user("Hi"), assistant("Ho")))
    assert shown(encoded) == "<|bos|><|system|>Be.<|user|>Hi<|assistant|>Ho<|end|>"
    assert encoded.tiles_NCHW.shape == (0, 3, TILE, TILE) and encoded.tiles_NCHW.dtype == torch.uint8
    assert encoded.tokens_T.dtype == encoded.labels_T.dtype == torch.int64
    assert (encoded.key, encoded.source, encoded.category) == ("set/0/7", "set", "general")


def random_sample(dice: random.Random, num_pictures: int) -> Sample:
    """Turns with text and pictures of random sizes, the last one with regions on them."""
    pictures = [picture(dice.randint(1, 90), dice.randint(1, 90), dice.random() < 0.5) for _ in range(num_pictures)]
    pictures = [replace(part, split=dice.random() < 0.7) for part in pictures]
    regions: list[Part | str] = []
    for number, part in enumerate(pictures):
        x, y = Image.open(io.BytesIO(part.media.data or b"")).size
        region = dice.choice([Box(0.2 * x, 0.1 * y, 0.9 * x, y, number), Point(x / 2, y / 3, number)])
        regions += [RegionPart(region), " and "]
    messages = []
    while pictures:
        taken = dice.randint(1, len(pictures))
        messages.append(user("What? é", *pictures[:taken], "x" * dice.randint(0, 9)))
        messages.append(Message(Role.ASSISTANT, (TextPart("It is."),), trained=dice.random() < 0.5))
        pictures = pictures[taken:]
    return sample(*messages, user("And?", *regions), assistant("Well."))


@pytest.mark.parametrize(("mode", "indicator"), list(product(SplitMode, Indicator)))
def test_count_equals_encode(mode: SplitMode, indicator: Indicator) -> None:
    dice = random.Random(f"{mode} {indicator}")
    for overview, num_pictures, n_min in product(Overview, range(5), (1, 4)):
        answer = SplitPolicy(mode=SplitMode.DYNAMIC, tile=TILE, n_min=2, n_max=5)
        door = processor(answer=answer, mode=mode, indicator=indicator, overview=overview, n_min=n_min)
        mixed = random_sample(dice, num_pictures)
        for answering in (False, True):
            encoded = door.encode(mixed, answering)
            assert door.count(mixed, answering) == Cost(encoded.num_tokens, encoded.num_tiles)
            pack([encoded], door.image_token, PER_TILE).check()
            assert learned(encoded).endswith("" if answering else "Well.<|end|>")


def test_pictures_that_stay_whole_let_the_others_be_split() -> None:
    door = processor(indicator=Indicator.INDEX, overview=Overview.NONE)
    small = [replace(picture(32, 24, stated=False, color=color), split=False) for color in ("red", "lime", "blue")]
    mixed = sample(document(small[0], "A", small[1], "B", small[2], "C", picture(16, 80), "D"))
    encoded = door.encode(mixed)
    assert shown(encoded) == ("<|bos|>(0,0,0)•A(1,0,0)•B(2,0,0)•C(3,1,1)•(3,2,1)•(3,3,1)•(3,4,1)•(3,5,1)•D<|end|>")
    assert encoded.tiles_NCHW[:3, :, 0, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert door.count(mixed) == Cost(encoded.num_tokens, 8)
    pack([encoded], door.image_token, PER_TILE).check()
    whole = sample(document(*(part for shown in small for part in (replace(shown, split=True), "A")), picture(16, 80)))
    assert door.encode(whole).num_tiles == 4, "with all four to be split none is"


def test_count_does_not_touch_pictures_of_stated_size() -> None:
    part = ImagePart(MediaRef(path="nowhere/a.png"), 32, 24)
    assert processor(indicator=Indicator.NONE).count(asking(part, "?")) == Cost(len("  ? Yes. ") + 5 * PER_TILE, 5)
    with pytest.raises(SkipSample, match=r"set/0/7: nowhere/a\.png"):
        processor().encode(asking(part, "?"))


def test_answering_stops_where_the_answer_begins() -> None:
    door = processor(mode=SplitMode.NONE, answer=SplitPolicy(tile=TILE, overview=Overview.NONE))
    encoded = door.encode(asking(picture(32, 24), "What?"), answering=True)
    assert shown(encoded) == "<|bos|><|user|>(0,1,1)•(0,1,2)•(0,2,1)•(0,2,2)•What?<|assistant|>"
    assert learned(encoded) == ""
    assert shown(door.encode(sample(document("Once")), answering=True)) == "<|bos|>Once"


def test_regions_are_written_by_the_size_of_their_own_picture() -> None:
    regions = (RegionPart(Box(10, 10, 15, 15, 1)), RegionPart(Point(10, 10)))
    encoded = processor(mode=SplitMode.NONE).encode(asking(picture(40, 20, stated=False), picture(20, 80), *regions))
    assert "(1,0,0)•[500, 125, 750, 187][250, 500]<|assistant|>" in shown(encoded)


@pytest.mark.parametrize("name", SPECIALS)
def test_typed_special_tokens_leave_pictures_in_place(name: str, tmp_path) -> None:
    path = tmp_path / f"{name}.png"
    path.write_bytes(png(32, 24))
    parts = [name, ImagePart(MediaRef(path=str(path))), name[:4], name[4:], name.upper()]
    hostile = processor().encode(sample(Message(Role.SYSTEM, (TextPart(name),)), user(*parts), assistant(name)))
    plain = processor().encode(sample(Message(Role.SYSTEM, (TextPart("a"),)), user(picture(32, 24)), assistant("b")))
    specials = torch.tensor(sorted(TOKENIZER.specials.values()))
    structure = [encoded.tokens_T[torch.isin(encoded.tokens_T, specials)] for encoded in (hostile, plain)]
    assert torch.equal(*structure)
    pack([hostile], processor().image_token, PER_TILE).check()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (asking(picture(32, 24), RegionPart(Box(1, 1, 5, 5, 1))), "on picture 1 .*there are only 1"),
        (asking(picture(32, 24), RegionPart(Point(1, 1, -1))), "on picture -1"),
        (asking("No picture", RegionPart(Point(1, 1))), "there are only 0"),
        (asking(picture(32, 24), RegionPart(Box(1, 1, 1, 5))), "no area"),
        (asking(picture(32, 24), RegionPart(Box(33, 1, 39, 5))), "outside its 32×24 picture"),
        (asking(ImagePart(MediaRef(data=png(32, 24)), 24, 32)), r"picture 0 .*states 24×32 px, but .*32×24"),
        (sample(user("Hi")), "no turn is trained"),
        (sample(user("Hi"), assistant("")), "has no text"),
        (asking("\ud83d"), "surrogate"),
    ],
)
def test_unusable_samples_are_skipped_by_name(broken: Sample, reason: str) -> None:
    with pytest.raises(SkipSample, match=reason) as caught:
        processor().encode(broken)
    assert str(caught.value).startswith("set/0/7: ")


def test_broken_pictures_keep_their_error_type() -> None:
    for part in (ImagePart(MediaRef(data=b"<html>")), ImagePart(MediaRef(data=png(32, 24)[:60]), 32, 24)):
        with pytest.raises(PictureError, match=r"set/0/7: picture 1 \("):
            processor().encode(asking(picture(8, 9), part))


def test_long_samples_are_skipped_with_both_numbers() -> None:
    long = asking(picture(32, 24), "What?")
    tokens = processor().count(long).tokens
    assert processor(max_tokens=tokens).encode(long).num_tokens == tokens
    for door in (processor(max_tokens=tokens - 1).encode, processor(max_tokens=tokens - 1).count):
        with pytest.raises(SkipSample, match=rf"{tokens} tokens \(5 tiles of 3\) .*max_tokens = {tokens - 1}; raise"):
            door(long)


def test_stated_sizes_are_of_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned by a quarter: stored 24×32, seen 32×24.
    part = MediaRef(data=png(24, 32, exif=exif.tobytes()))
    turned = [processor().encode(asking(image, "?")) for image in (ImagePart(part), ImagePart(part, 32, 24))]
    assert torch.equal(turned[0].tokens_T, turned[1].tokens_T)
    assert turned[0].num_tiles == 5


def test_config_survives_json_and_names_what_changed() -> None:
    config = processor(answer=SplitPolicy(tile=TILE, n_max=16), indicator=Indicator.SEPS).config
    assert ProcessorConfig.model_validate_json(config.model_dump_json(indent=2)) == config
    door = Processor(config, TOKENIZER)
    assert door.fingerprint == Processor(config, TOKENIZER).fingerprint
    changed = [
        Processor(config.model_copy(update={"tokens_per_tile": 4}), TOKENIZER),
        Processor(config.model_copy(update={"split": config.split.model_copy(update={"n_max": 8})}), TOKENIZER),
        Processor(config, train_tokenizer(["other text"], SPECIALS)),
    ]
    assert len({door.fingerprint, *(other.fingerprint for other in changed)}) == 4


def test_a_processor_can_be_sent_to_a_worker() -> None:
    door = processor()
    mixed = asking(picture(32, 24), "What?")
    here, there = door.encode(mixed), pickle.loads(pickle.dumps(door)).encode(mixed)
    assert torch.equal(here.tokens_T, there.tokens_T) and torch.equal(here.tiles_NCHW, there.tiles_NCHW)


def test_template_and_tokenizer_must_fit() -> None:
    with pytest.raises(ConfigError, match="image_pad"):
        Processor(ProcessorConfig(template=CHATML), TOKENIZER)
    names = ["<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|endoftext|>"]
    tokenizer: Tokenizer = TOKENIZER.with_specials(names)
    door = Processor(ProcessorConfig(template=CHATML), tokenizer)
    assert door.stop_tokens == {tokenizer.special("<|im_end|>"), tokenizer.special("<|endoftext|>")}
    assert door.image_token == tokenizer.special("<|image_pad|>")
    assert door.decode(tokenizer.encode_trusted("Fine.<|im_end|>")) == "Fine."
