"""Processes that read packs ahead: started clean, one pipe each, and never waited for in silence.

They ignore Ctrl-C (the trainer decides), end when their pipe does (the trainer is gone, however it went), and are
daemons (ended with the trainer). What a worker raises is printed by itself; the trainer hears that it died.
"""

from __future__ import annotations

import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mm15.base.batch import PackedBatch
from mm15.base.errors import MM15Error

PROCESSES = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
"""How this package starts processes: never by forking one that already runs threads or holds a GPU."""
