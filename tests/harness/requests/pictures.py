"""Requests with a picture, of any size."""

from __future__ import annotations

import base64
import random
from typing import Any

__all__ = ["conversation"]


def conversation(megabytes: float) -> list[dict[str, Any]]:
    """A message with a picture, so that the request has this size; the same one for the same size."""
    picture = base64.b64encode(random.Random(megabytes).randbytes(int(megabytes * 750_000))).decode()
    url = {"url": f"data:image/png;base64,{picture}"}
    return [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": url}],
        }
    ]
