"""Decode steps of fixed shapes say what ordinary ones say: rounded up, repeated into the same addresses, captured."""

from __future__ import annotations

import pytest
import torch

from mm15.generate.engine import Engine, Generation, generate
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import MoEConfig
from mm15.model.static import CAPTURE_AT, StaticDecode
from mm15.processor import Processor
from serving_fixture import made_model, made_processor, made_prompts

LONGEST = 12


@pytest.fixture(scope="module")
def processor() -> Processor:
    return made_processor()


@pytest.fixture(scope="module", params=["plain", "window", "experts"])
def model(processor: Processor, request: pytest.FixtureRequest) -> MultimodalModel:
    plain = made_model(processor)
    if request.param == "plain":
        return plain
    changed = {"window": 9} if request.param == "window" else {"moe": MoEConfig(experts=4, top_k=2, every=2)}
    decoder = plain.config.decoder.model_copy(update=changed)
    other = MultimodalModel(plain.config.model_copy(update={"decoder": decoder}))
    other.init_weights(seed=3)
    kept = {name: weight for name, weight in plain.state_dict().items() if ".mlp." not in name or "vision" in name}
    other.load_state_dict(kept, strict=False)
    return other


@pytest.fixture(scope="module")
def prompts(processor: Processor):
    return made_prompts(processor, 24)


@pytest.fixture(scope="module")
def expected(model, processor, prompts) -> list[Generation]:
    return [generate(model, processor, [prompt], LONGEST)[0] for prompt in prompts]


def static_engine(model: MultimodalModel, processor: Processor, places: int, page: int, chunk: int = 2_048) -> Engine:
    engine = Engine(model, processor, places, chunk, page)
    engine.static = StaticDecode(model, engine.cache)
    return engine


def answers(engine: Engine, prompts) -> list[Generation]:
    tickets = [engine.submit(prompt, LONGEST) for prompt in prompts]
    return [engine.result(ticket) for ticket in tickets]


@pytest.mark.parametrize(("places", "page", "chunk"), [(16_384, 32, 2_048), (1_200, 32, 60), (900, 4, 2_048)])
def test_many_requests_answer_as_each_alone(model, processor, prompts, expected, places, page, chunk):
    engine = static_engine(model, processor, places, page, chunk)
    assert answers(engine, prompts) == expected
    assert engine.static is not None
    assert sum(engine.static._wanted.values()) > LONGEST / 2, "steps were taken with fixed shapes"


def test_many_long_sequences_are_read_in_place(model, processor, prompts, expected, monkeypatch):
    monkeypatch.setattr("mm15.model.static.MOST_PLACES", 512)
    engine = static_engine(model, processor, 1_200, 32, 60)
    assert answers(engine, prompts) == expected
    assert engine.static is not None
    shapes = set(engine.static._wanted)
    assert shapes and all(rows * pages * 32 <= 512 for rows, pages in shapes), "the last to answer are few"


def test_one_request_in_one_page(model, processor, prompts, expected):
    for prompt, answer in zip(prompts[:6], expected, strict=False):
        places = prompt.num_tokens + LONGEST
        engine = static_engine(model, processor, places, places)
        assert engine.cache.num_pages == 1
        assert answers(engine, [prompt]) == [answer]


def test_what_is_replayed_reads_the_step_it_is_told(model, processor, prompts, expected, monkeypatch):
    """A graph is a pass over addresses: here it is one that runs again over the tensor it was captured with."""
    captured = []

    def capture(self, told_SX):
        captured.append(tuple(told_SX.shape))
        return told_SX, lambda: self._pass(told_SX)

    monkeypatch.setattr(StaticDecode, "_capture", capture)
    engine = static_engine(model, processor, 16_384, 32)
    assert engine.static is not None
    engine.static.captures = True
    assert answers(engine, prompts) == expected
    assert captured, "shapes that come often are captured"
    assert len(set(captured)) == len(captured), "and each only once"
    often = {shape for shape, count in engine.static._wanted.items() if count >= CAPTURE_AT}
    assert often == engine.static._graphs.keys()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_graphs_on_a_gpu(processor, prompts, dtype):
    model = made_model(processor).to("cuda")
    model.compute_dtype = dtype
    engine = Engine(model, processor)
    assert engine.static is not None
    with_graphs = answers(engine, prompts)
    assert engine.static._graphs
    plain = Engine(model, processor)
    plain.static = None
    without = answers(plain, prompts)
    same = sum(one == other for one, other in zip(with_graphs, without, strict=True))
    # Other kernels round otherwise; in fp32 greedy answers of these weights do not turn on it.
    assert same == len(prompts) if dtype == torch.float32 else same > len(prompts) // 2
