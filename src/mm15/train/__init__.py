"""Training: loss, optimizers, step, loop, checkpoints. Knows no files of data and no benchmark."""
