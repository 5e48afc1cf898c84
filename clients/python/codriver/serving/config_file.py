"""Configuration files of servers: TOML, with the names of the command's options, checked name by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping

from codriver.errors import InvalidArgumentError


def read_config(path: Path, known: Mapping[str, Any]) -> Dict[str, Any]:
    """Reads a file (Python 3.11 or later).

    Args:
        path: The file.
        known: What it may hold: a value of the right type by name; a tuple is a list of strings, a dictionary a table
            of its own.

    Returns:
        What it holds, as TOML reads it.

    Raises:
        InvalidArgumentError: It cannot be read, is not TOML, or holds something else.
    """
    try:
        import tomllib
    except ImportError:
        raise InvalidArgumentError("--config needs Python 3.11 or later", field="config") from None
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {path}: {error.strerror}", field="config") from None
    except ValueError as error:
        raise InvalidArgumentError(f"{path} is not TOML: {error}", field="config") from None
    _check(found, known, path)
    return found


def _check(found: Mapping[str, Any], known: Mapping[str, Any], path: Path) -> None:
    for name, value in found.items():
        if name not in known:
            raise InvalidArgumentError(
                f"{path} has {name!r}; known are: {', '.join(sorted(known))}", field=name
            )
        kind = type(known[name])
        right = {
            bool: isinstance(value, bool),
            tuple: isinstance(value, list) and all(isinstance(item, str) for item in value),
            float: isinstance(value, (int, float)) and not isinstance(value, bool),
            int: isinstance(value, int) and not isinstance(value, bool),
        }.get(kind, isinstance(value, kind))
        if not right:
            want = "a list of strings" if kind is tuple else kind.__name__
            raise InvalidArgumentError(f"{path}: {name} is {value!r}; it must be {want}", field=name)
        if isinstance(value, dict):
            _check(value, known[name], path)
