"""`python -m mm15` is `mm15` (torchrun needs a module)."""

from mm15.cli import main

if __name__ == "__main__":
    main()
