"""Other people's checkpoints: one file per family, which maps names and configs in both directions. Files only."""
