"""The exception tree. Everything mm15 raises on purpose is one of these.

    MM15Error                    a sentence that says what, where, why and the fix
    ├── ConfigError              a recipe or config is wrong; carries every problem at once
    ├── DataError                something in the user's data is wrong
    │   ├── SkipSample           one row cannot be used; counted against its source's budget
    │   ├── PictureError         an image is refused by name (truncated, too large, unknown format)
    │   └── SkipBudgetExceeded   too many skipped rows: training stops and names them
    ├── BundleError              a bundle or checkpoint is not what it claims
    ├── PlanMismatch             a resumed run's data plan differs from the saved one
    ├── Interrupted              a signal stopped the run; everything is saved
    ├── NonFiniteError           loss or gradient stayed NaN/Inf for too many steps
    └── MissingExtra             an optional dependency is not installed

``ValueError`` is used for wrong arguments of pure functions, ``assert`` only for our own invariants.
"""

from __future__ import annotations

from collections.abc import Sequence


class MM15Error(Exception):
    """Base of all errors that mm15 raises on purpose."""


class ConfigError(MM15Error):
    """A recipe or config is wrong. ``problems`` holds every problem found, one sentence each."""

    def __init__(self, problems: Sequence[str], where: str = "config") -> None:
        self.problems = list(problems)
        self.where = where
        plural = "problem" if len(self.problems) == 1 else "problems"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{where}: {len(self.problems)} {plural}\n{lines}")


class DataError(MM15Error):
    """Something in the user's data is wrong."""


class SkipSample(DataError):
    """This row cannot be used. The loader counts it, names it, and never takes a neighbour instead."""

    def __init__(self, reason: str, address: str = "") -> None:
        self.reason = reason
        self.address = address
        super().__init__(f"{address}: {reason}" if address else reason)


class PictureError(SkipSample):
    """An image is refused by name: truncated, too large, or of a format that is not allowed."""


class SkipBudgetExceeded(DataError):
    """More rows of a source were skipped than its budget allows."""


class BundleError(MM15Error):
    """A bundle or checkpoint is not what it claims to be. Lists every missing, extra or misshapen part."""


class PlanMismatch(MM15Error):
    """The data plan of a resumed run differs from the one the checkpoint was made with."""


class Interrupted(MM15Error):
    """A signal stopped the run. Everything is saved; the message says how to go on."""


class NonFiniteError(MM15Error):
    """Loss or gradient was NaN or Inf for too many steps in a row."""


class MissingExtra(MM15Error):
    """An optional dependency is needed; the message says which extra installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package '{package}'. Install it with: pip install 'mm15[{extra}]'")
