"""Writes a CLIP model directory in the shape of ViT-B/16 with random weights (in the models' environment).

``python -m feedback_service.bench.random_tower DIRECTORY``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
