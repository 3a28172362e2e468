"""ScreenSpot-v2 (arXiv 2410.23218): ScreenSpot with corrected instructions and boxes, by the centre of the answer.

Files: OS-Copilot's ``screenspot_mobile_v2.json``, ``_desktop_v2`` and ``_web_v2`` beside ``screenspotv2_image/``.
Numbers are not those of ScreenSpot. Question and rule: ``_screenspot``.
"""

from __future__ import annotations

from mm15.evals.benchmarks import _screenspot
from mm15.evals.files import Files
from mm15.evals.items import Item, common_boxes

NAME = "screenspot-v2"
SUITE = "ui"
CATEGORY = "ui"
METRIC = _screenspot.METRIC
SPLIT = "test"
MAX_NEW_TOKENS = _screenspot.MAX_NEW_TOKENS
CHECKS = _screenspot.CHECKS
RELEASES = (_screenspot.authors("screenspot_*_v2.json", "screenspotv2_image"),)


def read(files: Files) -> list[Item]:
    """The instructions; the task is the kind of machine and of element, "mobile icon"."""
    return _screenspot.read_screens(files, NAME, RELEASES)


score = _screenspot.score
combine = _screenspot.combine
constants = common_boxes
