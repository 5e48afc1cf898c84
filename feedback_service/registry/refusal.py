"""The error of the registry's checks, and the small readers that raise it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codriver.errors import InvalidArgumentError

MAX_JSON_BYTES = 16 * 1024 * 1024
"""Largest JSON file of a checkpoint that is read whole (a tokenizer's index of shards is well under it)."""


class NotAModelError(InvalidArgumentError):
    """A directory does not hold a model that a coach can use; the message names the file at fault."""

    default_reason = "NOT_A_MODEL"


def read_json_object(path: Path) -> dict[str, Any]:
    """Reads a JSON file that must hold one object.

    Raises:
        NotAModelError: It is missing, too large, not UTF-8 JSON, or not an object.
    """
    try:
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise NotAModelError(f"{path.name} has {size:,} bytes, more than {MAX_JSON_BYTES:,}")
        form = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise NotAModelError(f"there is no {path.name} in {path.parent}") from None
    except OSError as error:
        raise NotAModelError(f"{path.name} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        if path.read_bytes()[:8] == b"version ":
            raise NotAModelError(
                f"{path.name} is a Git LFS pointer, not the file", hint="Run `git lfs pull` in it."
            ) from None
        raise NotAModelError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(form, dict):
        raise NotAModelError(f"{path.name} is not a JSON object")
    return form
