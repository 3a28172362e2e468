"""Other people's evaluation harnesses ask our bundles: lmms-eval and VLMEvalKit. See docs/BRIDGES.md."""
