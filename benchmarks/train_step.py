"""Language-model training step at natural lengths: our packed stream beside transformers' padded and grouped batches.

Both sides in one run, interleaved: equal dimensions, the same samples, AdamW, fp32, 60 % of the labels masked. What
counts is real tokens per second (padding does not count); the figure is the ratio of medians. Weights are random and
not shared: this is about time; equality of the two models at equal weights is shown by tests/parity.

    python benchmarks/train_step.py [--threads 2] [--rounds 7]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from mm15.base.batch import IGNORE, EncodedSample, pack
from mm15.base.rng import numpy_rng
from mm15.base.torch_rng import torch_rng
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, DecoderConfig, ModelConfig

WIDTH, LAYERS, HEADS, MLP, VOCAB = 256, 6, 4, 704, 8192
SAMPLES, BATCH, IMAGE = 32, 8, 1


def samples() -> list[EncodedSample]:
    """Lognormal lengths around 180 tokens, at most 1024."""
    rng, dice = numpy_rng(0, "bench"), torch_rng(0, "bench")
    lengths = np.clip(np.exp(rng.normal(5.2, 0.8, SAMPLES)).astype(int), 8, 1024)
    made = []
    for index, length in enumerate(lengths):
        tokens_T = torch.randint(2, VOCAB, (int(length),), generator=dice)
        labels_T = torch.cat([tokens_T[1:], torch.tensor([IGNORE])])
        labels_T[torch.rand(len(labels_T), generator=dice) < 0.6] = IGNORE
        made.append(EncodedSample(tokens_T, labels_T, torch.zeros(0, 3, 16, 16, dtype=torch.uint8), str(index), "", ""))
    return made


def ours(data: list[EncodedSample]) -> Callable[[], None]:
    debug = SIZES["debug"]
    head_dim = WIDTH // HEADS
    decoder = DecoderConfig(
        vocab_size=VOCAB,
        width=WIDTH,
        layers=LAYERS,
        heads=HEADS,
        kv_heads=HEADS,
        head_dim=head_dim,
        mlp_width=MLP,
    )
    model = MultimodalModel(
        ModelConfig(vision=debug.vision, connector=debug.connector, decoder=decoder, image_token=IMAGE)
    )
    model.init_weights(0)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    batches = [pack(data[start : start + BATCH], IMAGE, debug.connector.tokens) for start in range(0, len(data), BATCH)]

    def run() -> None:
        for batch in batches:
            output = model(batch)
            F.cross_entropy(output.logits_LV, output.targets_L).backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def theirs(data: list[EncodedSample]) -> Callable[[], None]:
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=WIDTH,
            intermediate_size=MLP,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            tie_word_embeddings=True,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    batches = []
    for start in range(0, len(data), BATCH):
        group = data[start : start + BATCH]
        longest = max(sample.num_tokens for sample in group)
        ids, labels = torch.zeros(len(group), longest, dtype=torch.long), torch.full((len(group), longest), IGNORE)
        mask = torch.zeros(len(group), longest, dtype=torch.long)
        for row, sample in enumerate(group):
            ids[row, : sample.num_tokens] = sample.tokens_T
            labels[row, 1 : sample.num_tokens] = sample.labels_T[:-1]  # transformers shifts by itself
            mask[row, : sample.num_tokens] = 1
        batches.append((ids, mask, labels))

    def run() -> None:
        for ids, mask, labels in batches:
            model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)  # transformers draws its weights from the global generator
    data = samples()
    tokens = sum(sample.num_tokens for sample in data)
    grouped = sorted(data, key=lambda sample: sample.num_tokens)
    sides = {"mm15 packed": ours(data), "transformers padded": theirs(data), "transformers grouped": theirs(grouped)}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(arguments.rounds + 1):
        for name, run in sides.items():
            began = time.perf_counter()
            run()
            if round_:  # the first round warms up
                seconds[name].append(time.perf_counter() - began)
    print(f"{platform.processor() or platform.machine()}, {arguments.threads} threads, torch {torch.__version__}, fp32")
    base = statistics.median(seconds["mm15 packed"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:<22} {tokens / median:>8,.0f} real tokens/s   mm15 is {median / base:.2f}x   n={len(values)}")


if __name__ == "__main__":
    main()
