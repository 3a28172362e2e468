"""ScreenSpot (arXiv 2401.10935): find what an instruction means on telephones, computers and web pages, by its centre.

Files: the parquet release rootsautomation/ScreenSpot, or SeeClick's ``screenspot_mobile.json``, ``_desktop`` and
``_web`` beside ``screenspot_imgs/``. Question and rule: ``_screenspot``.
"""

from __future__ import annotations

from mm15.evals.benchmarks import _screenspot
from mm15.evals.files import Files
from mm15.evals.items import Item, common_boxes

NAME = "screenspot"
SUITE = "ui"
CATEGORY = "ui"
METRIC = _screenspot.METRIC
SPLIT = "test"
MAX_NEW_TOKENS = _screenspot.MAX_NEW_TOKENS
CHECKS = _screenspot.CHECKS
RELEASES = (_screenspot.HUB, _screenspot.authors("screenspot_*[!2].json", "screenspot_imgs", 1272))


def read(files: Files) -> list[Item]:
    """The instructions; the task is the kind of machine and of element, "mobile icon"."""
    return _screenspot.read_screens(files, NAME, RELEASES)


score = _screenspot.score
combine = _screenspot.combine
constants = common_boxes
