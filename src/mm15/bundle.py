"""A model you can carry: weights, configs, tokenizer and recipe in one folder, or a clear refusal.

    model.safetensors  config.json  processor.json  tokenizer.json  recipe.yaml (optional)  bundle.json

Weights of more than 5 GB lie in shards instead: ``model-00001-of-0000N.safetensors``, ``model.safetensors.index.json``.
``bundle.json`` holds the format version, the size and SHA-256 of every other file, and what the writer wants to tell.
Nothing here is ever unpickled, and nothing is loaded that does not fit exactly.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mm15.base.config import validate
from mm15.base.errors import BundleError, ConfigError
from mm15.interop.files import INDEX, SHARD_BYTES, write_tensors
from mm15.interop.files import SINGLE as WEIGHTS
from mm15.io.atomic import atomic_folder
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import ModelConfig
from mm15.processor import Processor, ProcessorConfig
from mm15.text.tokenizer import Tokenizer

FORMAT = 1
CONFIG, PROCESSOR, TOKENIZER = "config.json", "processor.json", "tokenizer.json"
RECIPE, MANIFEST = "recipe.yaml", "bundle.json"
REQUIRED = (CONFIG, PROCESSOR, TOKENIZER)
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
FLOATS = {"F32", "BF16", "F16"}
ROUTER = ".router.weight"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a folder held. ``recipe`` is empty if it held none; ``extra`` is what the writer told."""

    model: MultimodalModel
    processor: Processor
    recipe: dict[str, Any]
    extra: dict[str, Any]


def save_bundle(
    folder: str | Path,
    model: MultimodalModel,
    processor: Processor,
    recipe: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a bundle, all of it or nothing; a bundle that is already there is replaced.

    Args:
        recipe: the resolved recipe, YAML values.
        extra: anything to tell, JSON values: where it came from, steps taken.
        weights: in place of the model's own, where those are shared out over ranks; its state dict as on one rank.
        shard_bytes: weights of more bytes are written in shards; one shard is in memory beside the model.

    Raises:
        BundleError: the processor does not fit the model, or the model was packed or quantised: it has no weights to
            keep any more.
    """
    problems = _misfits(model.config, processor)
    if model.layout:
        problems.append(f"the model's weights are {model.layout}, for answers alone, and cannot be written; load the "
                        "bundle again without dtype and int8")  # fmt: skip
    if problems:
        raise BundleError(_refusal(Path(folder), problems))
    with atomic_folder(folder) as draft:
        tensors = model.state_dict() if weights is None else weights
        write_tensors(draft, tensors.items(), shard_bytes, metadata=None)
        (draft / CONFIG).write_text(model.config.model_dump_json(indent=1), encoding="utf-8")
        (draft / PROCESSOR).write_text(processor.config.model_dump_json(indent=1), encoding="utf-8")
        processor.tokenizer.save(draft / TOKENIZER)
        if recipe is not None:
            text = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)
            (draft / RECIPE).write_text(text, encoding="utf-8")
        files = {path.name: {"size": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(draft.iterdir())}
        manifest = {"format": FORMAT, "files": files, "extra": dict(extra or {})}
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def load_bundle(folder: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> Bundle:
    """Read a bundle.

    Args:
        folder: a bundle, or a run folder with ``bundle/`` inside.
        device: where the parameters go; ``meta`` checks everything and leaves them in the file.
        dtype: of the parameters (routers of experts: fp32 always); None keeps that of the file.

    Raises:
        BundleError: one error that lists everything that is wrong: missing, damaged or unknown files, pickles, an
            unknown format, every missing, extra or misshapen tensor, a processor of another model.
    """
    folder = bundle_folder(folder)
    files, extra, problems = _read_manifest(folder)
    problems += _damage(folder, files)
    weights = [folder / name for name in _weight_files(files) if name != INDEX]
    if problems:
        raise BundleError(_refusal(folder, problems))

    config = _parsed(ModelConfig, folder / CONFIG, problems)
    processor_config = _parsed(ProcessorConfig, folder / PROCESSOR, problems)
    recipe = _recipe(folder, problems) if RECIPE in files else {}
    processor = None
    try:
        tokenizer = Tokenizer.from_file(folder / TOKENIZER)
        processor = Processor(processor_config, tokenizer) if processor_config else None
    except BundleError as error:
        problems.append(str(error))
    except ConfigError as error:
        problems += [f"{PROCESSOR}: {problem}" for problem in error.problems]
    model = None
    if config:
        # On the meta device nothing is allocated, so a config of any size can be compared with the file first.
        with torch.device("meta"):
            model = MultimodalModel(config)
        problems += _tensor_problems(model, weights)
        problems += _misfits(config, processor) if processor else []
    if problems or model is None or processor is None:
        raise BundleError(_refusal(folder, problems))
    state: dict[str, torch.Tensor] = {}
    for path in weights:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (not a mapping)
                tensor = file.get_tensor(name)
                kept = torch.float32 if dtype and name.endswith(ROUTER) else dtype
                # Copied, because the library hands out views of the mapped file: a file changed later would change
                # the model.
                state[name] = tensor.to(device, kept or tensor.dtype, copy=True)
    model.load_state_dict(state, strict=True, assign=True)
    return Bundle(model, processor, recipe, extra)


def bundle_folder(folder: str | Path) -> Path:
    """The bundle itself, where a run folder is given that has one."""
    folder = Path(folder)
    inner = folder / "bundle"
    return inner if not (folder / MANIFEST).exists() and (inner / MANIFEST).exists() else folder


def _read_manifest(folder: Path) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Files, extra, problems."""
    if not folder.is_dir():
        return {}, {}, ["no such folder"]
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        version, files, extra = manifest["format"], dict(manifest["files"]), dict(manifest["extra"])
        stated = {name: (int(entry["size"]), str(entry["sha256"])) for name, entry in files.items()}
    except FileNotFoundError:
        return {}, {}, [f"{MANIFEST}: missing; this is not a bundle, or its copy was not finished"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {}, {}, [f"{MANIFEST}: unreadable ({type(error).__name__}: {error})"]
    if version != FORMAT:
        return {}, {}, [f"{MANIFEST}: format {version!r} is unknown, this version of mm15 reads {FORMAT}; update mm15"]
    return stated, extra, []


def _weight_files(files: Iterable[str]) -> list[str]:
    """The names that the weights of a bundle have: one file, or an index and its shards."""
    shards = sorted(name for name in files if SHARD.fullmatch(name))
    return [INDEX, *shards] if INDEX in files or shards else [WEIGHTS]


def _damage(folder: Path, files: Mapping[str, tuple[int, str]]) -> list[str]:
    """Files that are missing, unlisted, damaged, or pickles."""
    pickles = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICKLES)
    problems = [f"{path.relative_to(folder)}: pickle files can run code and are refused" for path in pickles]
    if not files:
        return problems
    needed = [*_weight_files(files), *REQUIRED]
    problems += [f"{name}: not listed in {MANIFEST}" for name in needed if name not in files]
    problems += [f"{name}: listed in {MANIFEST}, but no part of a bundle" for name in set(files) - {*needed, RECIPE}]
    for name in (*needed, RECIPE):
        path = folder / name
        if name not in files:
            continue
        size, digest = files[name]
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif path.stat().st_size != size:
            problems.append(f"{name}: {path.stat().st_size} bytes, expected {size}: the file is cut or was changed")
        elif _sha256(path) != digest:
            problems.append(f"{name}: its contents differ from what {MANIFEST} states (wrong hash)")
    if not problems and INDEX in files:
        problems = _index_problems(folder / INDEX, set(needed))
    return problems


def _index_problems(index: Path, listed: set[str]) -> list[str]:
    """Shards that an index names and the manifest does not (never hashed), and the other way round."""
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{index.name}: unreadable ({type(error).__name__}: {error})"]
    shards = {name for name in listed if SHARD.fullmatch(name)}
    problems = [f"{name}: named by {index.name}, but not listed in {MANIFEST}" for name in sorted(named - shards)]
    return problems + [f"{name}: not named by {index.name}" for name in sorted(shards - named)]


def _tensor_problems(model: MultimodalModel, paths: Iterable[Path]) -> list[str]:
    """Every tensor that is missing, unknown, misshapen or of a wrong type, read from the headers alone."""
    wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    shapes: dict[str, list[int]] = {}
    dtypes: dict[str, str] = {}
    twice: list[str] = []
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (not a mapping)
                    twice += [name] if name in shapes else []
                    entry = file.get_slice(name)
                    shapes[name], dtypes[name] = list(entry.get_shape()), str(entry.get_dtype())
        except SafetensorError as error:
            return [f"{path.name}: not a whole safetensors file ({error})"]
    problems = [f"tensor {name}: in two shards" for name in twice]
    problems += [f"tensor {name}: missing" for name in wanted if name not in shapes]
    problems += [f"tensor {name}: unknown to this model" for name in shapes if name not in wanted]
    for name in wanted.keys() & shapes.keys():
        if shapes[name] != wanted[name]:
            problems.append(f"tensor {name}: shape {shapes[name]}, expected {wanted[name]}")
        if dtypes[name] not in FLOATS:
            problems.append(f"tensor {name}: type {dtypes[name]}, expected one of {', '.join(sorted(FLOATS))}")
    return sorted(problems)


def _misfits(config: ModelConfig, processor: Processor) -> list[str]:
    """Where a processor was made for another model."""
    policies = [processor.config.split, processor.config.answer_split or processor.config.split]
    pairs = [
        ("image token", processor.image_token, config.image_token),
        ("tokens per tile", processor.tokens_per_tile, config.connector.tokens),
        *(("tile size", policy.tile, config.vision.image_size) for policy in dict.fromkeys(policies)),
    ]
    problems = [f"{what}: processor {ours}, model {theirs}" for what, ours, theirs in pairs if ours != theirs]
    if processor.tokenizer.vocab_size > config.decoder.vocab_size:
        problems.append(
            f"vocabulary: the tokenizer writes {processor.tokenizer.vocab_size} ids, "
            f"the model has rows for {config.decoder.vocab_size}"
        )
    return problems


def _parsed(schema: type, path: Path, problems: list[str]) -> Any:
    """The config in a JSON file, or None with the problems noted."""
    try:
        return validate(schema, json.loads(path.read_text(encoding="utf-8")), path.name)
    except ValueError as error:
        problems.append(f"{path.name}: not valid JSON ({error})")
    except ConfigError as error:
        problems += [f"{path.name}: {problem}" for problem in error.problems]
    return None


def _recipe(folder: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8")) or {})
    except (yaml.YAMLError, ValueError, TypeError) as error:
        problems.append(f"{RECIPE}: not a YAML mapping ({error})")
        return {}


def _refusal(folder: Path, problems: list[str]) -> str:
    plural = "problem" if len(problems) == 1 else "problems"
    lines = "\n".join(f"  - {problem}" for problem in problems)
    return f"bundle {folder}: {len(problems)} {plural}\n{lines}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
