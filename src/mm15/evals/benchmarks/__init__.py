"""One file per benchmark; ``evals/benchmark.py`` says what such a file holds."""
