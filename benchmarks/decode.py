"""Decoding beside transformers' ``generate``: the same weights, the same prompts, greedy, tokens per second.

Three sizes of Llama with random weights, a prefix of 160 positions, batch 1 and 8. Both sides run in one process,
interleaved, and are checked first: in fp32 they must say the same tokens. Each side counts with the better of bf16 and
fp32. Prompts are read before the clock starts: a figure is the time of answers of two lengths, subtracted. Beside it
stands the bound that memory sets: bytes of weights and cache per step over the measured bandwidth.

``--int8`` compares our int8 weights with our bf16, both as loaded and packed, and tells what they do to the perplexity
of tokens that the fp32 model itself draws (random weights know no language, but they have a distribution to lose).

    python benchmarks/decode.py [--sizes 30m 130m 500m] [--batches 1 8] [--rounds 5] [--tokens 24] [--int8]
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from mm15.model.decoder import Stream
from mm15.model.multimodal import MultimodalModel
from mm15.model.quantise import pack, quantise, set_dtype
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
        for layer, block in enumerate(ours.decoder.blocks):
            name = f"model.layers.{layer}."
            qkv = [state[f"{name}self_attn.{part}_proj.weight"] for part in "qkv"]
            block.attention.qkv.weight.copy_(torch.cat(qkv))
            block.attention.out.weight.copy_(state[f"{name}self_attn.o_proj.weight"])
            block.mlp.gate_up.weight.copy_(torch.cat([state[f"{name}mlp.{part}_proj.weight"] for part in ("gate", "up")]))
            block.mlp.down.weight.copy_(state[f"{name}mlp.down_proj.weight"])
            block.attention_norm.weight.copy_(state[f"{name}input_layernorm.weight"])
            block.mlp_norm.weight.copy_(state[f"{name}post_attention_layernorm.weight"])
    return theirs, ours


def in_bf16(model: MultimodalModel) -> MultimodalModel:
    made = copy.deepcopy(model)
    set_dtype(made, torch.bfloat16)
    return made


@torch.inference_mode()
def say(model: MultimodalModel, prompt_BT: torch.Tensor, tokens: int) -> torch.Tensor:
    batch, length = prompt_BT.shape
    cache = model.new_cache(batch, length + tokens)
    x_TD = model.decoder.embed(prompt_BT.flatten(), model.compute_dtype)
    said = [model.advance(x_TD, [length] * batch, cache, range(batch)).argmax(-1)]
    while len(said) < tokens:
        said.append(model.decode(said[-1], cache).argmax(-1))
    return torch.stack(said, dim=1)


def their_say(model: LlamaForCausalLM, prompt_BT: torch.Tensor, tokens: int) -> torch.Tensor:
    with torch.inference_mode():
        out = model.generate(prompt_BT, attention_mask=torch.ones_like(prompt_BT), max_new_tokens=tokens,
                             min_new_tokens=tokens, do_sample=False)  # fmt: skip
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
    sides: dict[str, Callable[[int], torch.Tensor]], tokens: int, rounds: int
) -> dict[str, tuple[float, float, float]]:
    """Seconds per step (median, least, most) of every side; in each round one after the other."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(rounds + 1):
        for name, run in sides.items():
            times = []
            for length in (2, 2 + tokens):
                began = time.perf_counter()
                run(length)
                times.append(time.perf_counter() - began)
            if round_:  # the first round warms up
                seconds[name].append((times[1] - times[0]) / tokens)
    return {name: (statistics.median(values), min(values), max(values)) for name, values in seconds.items()}


@torch.inference_mode()
def surprise(model: MultimodalModel, tokens_T: torch.Tensor) -> float:
    """Mean negative log-likelihood of a stream in nats."""
    stream = Stream(model.config.decoder, torch.arange(len(tokens_T)), (0, len(tokens_T)), model.compute_dtype)
    hidden_TD = model.decoder(model.decoder.embed(tokens_T, model.compute_dtype), stream)
    return float(F.cross_entropy(model.decoder.head(hidden_TD[:-1]).float(), tokens_T[1:]))


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
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    read = bandwidth()
    print(f"{arguments.threads} threads, torch {torch.__version__}, reads {read / 1e9:.1f} GB/s", flush=True)
    for size in arguments.sizes:
        theirs, ours = build(size)
        weights = sum(p.numel() for p in ours.decoder.parameters())
        plain, packed, wide = in_bf16(ours), in_bf16(ours), copy.deepcopy(ours)
        pack(packed)
        pack(wide)
        models = {"mm15 fp32": wide, "mm15 bf16": packed}
        if arguments.int8:
            small = copy.deepcopy(ours)
            quantise(small)
            models = {"mm15 bf16 plain": plain, "mm15 bf16": packed, "mm15 int8": small}
            tokens_T = drawn(wide, 96)
            base = surprise(ours, tokens_T)
            rise = {name: surprise(model, tokens_T) - base for name, model in models.items()}
            told = ", ".join(f"{name} {100 * (torch.tensor(value).exp().item() - 1):+.2f} %" for name, value in rise.items())
            print(f"{size}: perplexity {torch.tensor(base).exp().item():.1f} in fp32; {told}", flush=True)
        for batch in arguments.batches:
            prompt_BT = torch.randint(2, VOCAB, (batch, PREFIX), generator=torch.Generator().manual_seed(batch))
            same = torch.equal(say(wide, prompt_BT, 16), their_say(theirs, prompt_BT, 16))
            assert same, f"{size}, batch {batch}: in fp32 the two sides must say the same tokens"
            sides = {name: lambda n, m=model: say(m, prompt_BT, n) for name, model in models.items()}
            if not arguments.int8:
                their_half = copy.deepcopy(theirs).bfloat16()
                sides["transformers fp32"] = lambda n: their_say(theirs, prompt_BT, n)
                sides["transformers bf16"] = lambda n: their_say(their_half, prompt_BT, n)
            found = measure(sides, arguments.tokens, arguments.rounds)
            print(f"{size} ({weights / 1e6:.0f}M), batch {batch}, equal tokens in fp32: {same}")
            for name, (median, least, most) in found.items():
                width = 4 if "fp32" in name else 1 if "int8" in name else 2
                bound = batch * read / (weights * width)
                print(f"  {name:<18} {batch / median:>7.1f} tokens/s ({batch / most:.1f} to {batch / least:.1f}); "
                      f"bound {bound:.0f}")  # fmt: skip
            if arguments.int8:
                for other in ("mm15 bf16 plain", "mm15 bf16"):
                    print(f"  int8 is {found[other][0] / found['mm15 int8'][0]:.2f}x {other}", flush=True)
            else:
                best = [min(v[0] for k, v in found.items() if k.startswith(who)) for who in ("transformers", "mm15")]
                print(f"  mm15 is {best[0] / best[1]:.2f}x transformers", flush=True)


if __name__ == "__main__":
    main()
