"""Decoding beside transformers' ``generate``: the same weights, the same prompts, greedy, tokens per second.

Three sizes of Llama with random weights, a prefix of 160 positions, batch 1 and 8. Ours answers through the engine
that ``mm15 chat`` and ``mm15 eval`` use: fp32 as it is by default, bf16 packed as ``--dtype bf16`` packs it. Both sides
run in one process, interleaved, and are checked first: in fp32 they must say the same tokens. Each side counts with
the better of bf16 and fp32. The clock runs from token to token, so prompts do not count; figures are medians over
steps, with the 5th and 95th percentile. Beside them stands the bound that memory sets: bytes of weights per step over
the measured bandwidth.

``--int8`` compares our int8 weights with our bf16, both as loaded and packed, and tells what they do to the perplexity
of tokens that the fp32 model itself draws (random weights know no language, but they have a distribution to lose;
``benchmarks/evaluation.py --perplexity`` asks a trained bundle). int8 can win at most the bytes it does not read.

    python benchmarks/decode.py [--sizes 30m 130m 500m] [--batches 1 8] [--rounds 5] [--tokens 24] [--int8]
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, StoppingCriteria, StoppingCriteriaList

from mm15.base.batch import IGNORE, EncodedSample
from mm15.generate.engine import Engine
from mm15.model.cache import PAGE
from mm15.model.decoder import Stream
from mm15.model.multimodal import MultimodalModel
from mm15.model.quantise import prepare, set_dtype
from mm15.model.sizes import SIZES, DecoderConfig, ModelConfig

PREFIX, VOCAB = 160, 16_384
SHAPES = {  # width, layers, heads, key/value heads, MLP width
    "30m": (448, 8, 7, 7, 1216),
    "130m": (768, 16, 12, 4, 2304),
    "500m": (1280, 26, 20, 4, 3584),
}


def build(size: str) -> tuple[LlamaForCausalLM, MultimodalModel]:
    """The same random weights on both sides, fp32."""
    width, layers, heads, kv_heads, mlp = SHAPES[size]
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            intermediate_size=mlp,
            rms_norm_eps=1e-6,
            tie_word_embeddings=True,
            max_position_embeddings=2048,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
        )
    ).eval()
    with torch.no_grad():
        theirs.model.norm.weight.fill_(4.0)  # untrained logits are all but equal: quantising could lose nothing
    debug = SIZES["debug"]
    decoder = DecoderConfig(vocab_size=VOCAB, width=width, layers=layers, heads=heads, kv_heads=kv_heads,
                            head_dim=width // heads, mlp_width=mlp)  # fmt: skip
    ours = MultimodalModel(ModelConfig(vision=debug.vision, connector=debug.connector, decoder=decoder, image_token=1))
    ours.init_weights(0)
    state = theirs.state_dict()
    with torch.no_grad():
        ours.decoder.embedding.weight.copy_(state["model.embed_tokens.weight"])
        ours.decoder.final_norm.weight.copy_(state["model.norm.weight"])
        blocks: Any = ours.decoder.blocks
        for layer, block in enumerate(blocks):
            name = f"model.layers.{layer}."
            qkv = [state[f"{name}self_attn.{part}_proj.weight"] for part in "qkv"]
            block.attention.qkv.weight.copy_(torch.cat(qkv))
            block.attention.out.weight.copy_(state[f"{name}self_attn.o_proj.weight"])
            block.mlp.gate_up.weight.copy_(
                torch.cat([state[f"{name}mlp.{part}_proj.weight"] for part in ("gate", "up")])
            )
            block.mlp.down.weight.copy_(state[f"{name}mlp.down_proj.weight"])
            block.attention_norm.weight.copy_(state[f"{name}input_layernorm.weight"])
            block.mlp_norm.weight.copy_(state[f"{name}post_attention_layernorm.weight"])
    return theirs, ours


def in_bf16(model: MultimodalModel) -> MultimodalModel:
    made = copy.deepcopy(model)
    set_dtype(made, torch.bfloat16)
    return made


class Clock(StoppingCriteria):
    """Notes when each token is there; never stops. ``now`` may be the clock of the processor instead of the wall's."""

    now = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self.stamps: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: object, **more: object) -> Any:
        self.stamps.append(self.now())
        return torch.zeros(len(input_ids), dtype=torch.bool)


@torch.inference_mode()
def say(model: MultimodalModel, prompt_BT: torch.Tensor, tokens: int, clock: Clock) -> torch.Tensor:
    """Through the engine; a prompt that is alone gets one page, as ``generate`` and ``stream`` do it."""
    batch, length = prompt_BT.shape
    # What the engine asks of a processor; nothing ends early, as on the other side.
    words: Any = SimpleNamespace(image_token=1, tokens_per_tile=model.config.connector.tokens, stop_tokens=frozenset(),
                                 decode=lambda ids: "")  # fmt: skip
    page = PAGE if batch > 1 else length + tokens
    engine = Engine(model, words, batch * -(-(length + tokens) // page) * page, page=page)
    size = model.config.vision.image_size
    tiles_NCHW = torch.zeros(0, 3, size, size, dtype=torch.uint8)
    labels_T = torch.full((length,), IGNORE)
    tickets = [
        engine.submit(EncodedSample(row_T, labels_T, tiles_NCHW, f"{n}", "made", "general"), tokens, streaming=False)
        for n, row_T in enumerate(prompt_BT)
    ]
    while engine.in_flight:
        engine.step()
        clock.stamps.append(clock.now())
    return torch.tensor([engine.result(ticket).ids for ticket in tickets])


def their_say(model: Any, prompt_BT: torch.Tensor, tokens: int, clock: Clock) -> torch.Tensor:
    with torch.inference_mode():
        out = model.generate(
            prompt_BT,
            attention_mask=torch.ones_like(prompt_BT),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            stopping_criteria=StoppingCriteriaList([clock]),
        )
    return out[:, prompt_BT.shape[1] :]


def bandwidth() -> float:
    """Bytes per second of reading memory, the best of many: what no decoder can beat."""
    big = torch.ones(2**27, dtype=torch.int8).view(torch.int64)
    best = 0.0
    for _ in range(12):
        began = time.perf_counter()
        big.sum()
        best = max(best, big.nbytes / (time.perf_counter() - began))
    return best


def measure(
    sides: dict[str, Callable[[int, Clock], torch.Tensor]], tokens: int, rounds: int
) -> dict[str, tuple[float, float, float]]:
    """Seconds per step of every side (median, 5th and 95th percentile); in each round one side after the other."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(rounds + 1):
        for name, run in sides.items():
            clock = Clock()
            run(tokens + 2, clock)
            if round_:  # the first round warms up
                seconds[name] += [later - sooner for sooner, later in pairwise(clock.stamps)]
    ranks = {name: sorted(values) for name, values in seconds.items()}
    return {
        name: (statistics.median(values), values[len(values) // 20], values[-1 - len(values) // 20])
        for name, values in ranks.items()
    }


@torch.inference_mode()
def chances(model: MultimodalModel, tokens_T: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of what follows each position of a stream, [T, V]."""
    stream = Stream(model.config.decoder, torch.arange(len(tokens_T)), (0, len(tokens_T)), model.compute_dtype)
    hidden_TD = model.decoder(model.decoder.embed(tokens_T, model.compute_dtype), stream)
    return model.decoder.head(hidden_TD).float().log_softmax(-1)


def perplexity(of: torch.Tensor, by: torch.Tensor) -> float:
    """What a model that gives the log-probabilities ``by`` expects on text drawn from ``of``: without the noise of a
    sample, the whole distribution at each position stands for the token that follows."""
    return float((-(of.exp() * by).sum(-1)).mean().exp())


@torch.inference_mode()
def drawn(model: MultimodalModel, length: int) -> torch.Tensor:
    """A stream that the model draws itself."""
    cache = model.new_cache(1, length + 1)
    dice = torch.Generator().manual_seed(0)
    tokens = [torch.tensor([7])]
    while len(tokens) < length:
        logits_SV = model.decode(tokens[-1], cache)
        tokens.append(torch.multinomial(logits_SV.softmax(-1), 1, generator=dice)[:, 0])
    return torch.cat(tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--cpu-time", action="store_true", help="Seconds of the processor: where others compute too.")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.cpu_time:
        Clock.now = staticmethod(time.process_time)
    torch.manual_seed(0)
    read = bandwidth()
    print(f"{arguments.threads} threads, torch {torch.__version__}, reads {read / 1e9:.1f} GB/s", flush=True)
    for size in arguments.sizes:
        theirs, ours = build(size)
        weights = sum(p.numel() for p in ours.decoder.parameters())
        plain, packed, wide = in_bf16(ours), copy.deepcopy(ours), ours
        prepare(packed, "bf16")
        models = {"mm15 fp32": wide, "mm15 bf16": packed}
        if arguments.int8:
            small = copy.deepcopy(ours)
            prepare(small, kind="int8")
            models = {"mm15 bf16 plain": plain, "mm15 bf16": packed, "mm15 int8": small}
            tokens_T = drawn(wide, 96)
            right = chances(wide, tokens_T)
            base = perplexity(right, right)
            told = ", ".join(
                f"{name} {100 * (perplexity(right, chances(model, tokens_T)) / base - 1):+.2f} %"
                for name, model in models.items()
            )
            print(f"{size}: perplexity {base:.1f} in fp32; {told}", flush=True)
        for batch in arguments.batches:
            prompt_BT = torch.randint(2, VOCAB, (batch, PREFIX), generator=torch.Generator().manual_seed(batch))
            same = torch.equal(say(wide, prompt_BT, 16, Clock()), their_say(theirs, prompt_BT, 16, Clock()))
            assert same, f"{size}, batch {batch}: in fp32 the two sides must say the same tokens"
            sides = {name: partial(say, model, prompt_BT) for name, model in models.items()}
            if not arguments.int8:
                their_half = copy.deepcopy(theirs).bfloat16()
                sides["transformers fp32"] = partial(their_say, theirs, prompt_BT)
                sides["transformers bf16"] = partial(their_say, their_half, prompt_BT)
            found = measure(sides, arguments.tokens, arguments.rounds)
            print(f"{size} ({weights / 1e6:.0f}M), batch {batch}, equal tokens in fp32: {same}")
            for name, (median, least, most) in found.items():
                width = 4 if "fp32" in name else 1 if "int8" in name else 2
                bound = batch * read / (weights * width)
                print(f"  {name:<18} {batch / median:>7.1f} tokens/s ({batch / most:.1f} to {batch / least:.1f}); "
                      f"bound {bound:.0f}")  # fmt: skip
            if arguments.int8:
                for other in ("mm15 bf16 plain", "mm15 bf16"):
                    ratios = [found[other][place] / found["mm15 int8"][place] for place in (0, 1)]
                    print(
                        f"  int8 is {ratios[0]:.2f}x {other} by medians, {ratios[1]:.2f}x by 5th percentiles",
                        flush=True,
                    )
            else:
                for place, what in ((0, "medians"), (1, "5th percentiles")):
                    best = [
                        min(v[place] for k, v in found.items() if k.startswith(w)) for w in ("transformers", "mm15")
                    ]
                    print(f"  mm15 is {best[0] / best[1]:.2f}x transformers by {what}", flush=True)


if __name__ == "__main__":
    main()
