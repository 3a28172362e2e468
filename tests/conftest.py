"""One torch thread: small operations are quicker without barriers, and the same on every machine."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
