"""What lmms-eval's entry point ``lmms_eval.models`` is told: names of classes. Imports neither torch nor a bundle."""

from __future__ import annotations

from lmms_eval.models.registry_v2 import ModelManifest  # pyright: ignore[reportMissingImports]  (an extra)


def manifest() -> ModelManifest:
    """``--model mm15``."""
    return ModelManifest(
        model_id="mm15",
        chat_class_path="mm15.bridges.lmms_eval.MM15",
        simple_class_path="mm15.bridges.lmms_eval.MM15Simple",
    )
