"""The ``codriver`` command: finds its verbs through entry points and runs the chosen one.

A package adds a verb with an entry point of the group ``codriver.commands``: the name is the verb, a dot makes two
words (``bench.bev`` is ``codriver bench bev``), the value is ``module:main`` with ``main(argv: list[str]) -> int``.
Only the chosen verb's module is imported; help lines are read from the first line of each module's docstring.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
import sys
from importlib import metadata, util
from typing import Any, Dict, List, Sequence, Tuple

from codriver import __version__
from codriver.errors import CodriverError

GROUP = "codriver.commands"
_EXTRAS = {
    "serve": ("torch", "safetensors", "grpc_health", "grpc_reflection"),
    "feedback": ("tritonclient", "prometheus_client"),
    "sumo": ("libsumo", "sumolib", "cv2"),
    "carla": ("carla",),
    "train": ("gymnasium",),
    "view": ("rerun", "rerun_bindings", "PIL", "matplotlib"),
    "gym": ("stable_baselines3",),
}
"""Which extra brings a module that is missing."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a verb; returns its exit status (2 for bad input)."""
    words = list(sys.argv[1:] if argv is None else argv)
    verbs = _verbs()
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help(verbs))
        return 0 if words else 2
    if words[0] in ("--version", "-V"):
        print(f"codriver {__version__}")
        return 0
    name, rest = _match(words, verbs)
    if name is None:
        return _unknown(words, verbs)
    try:
        return int(verbs[name].load()(rest) or 0)
    except CodriverError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        extra = _extra(error.name or "")
        if extra is None:
            raise
        top = str(error.name).partition(".")[0]
        return _fail(f"`codriver {name.replace('.', ' ')}` needs {top}: pip install 'codriver[{extra}]'")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output is gone, as in `codriver ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _verbs() -> Dict[str, Any]:
    points: Any = metadata.entry_points()
    # Python 3.8 and 3.9 answer a plain dictionary
    group = points.select(group=GROUP) if hasattr(points, "select") else points.get(GROUP, ())
    return {point.name: point for point in sorted(group, key=lambda point: str(point.name))}


def _match(words: List[str], verbs: Dict[str, Any]) -> Tuple[str | None, List[str]]:
    """The verb of the most words that the command line begins with, and the rest of it."""
    for count in range(min(3, len(words)), 0, -1):
        name = ".".join(words[:count])
        if name in verbs and "." not in "".join(words[:count]):
            return name, words[count:]
    return None, words


def _unknown(words: List[str], verbs: Dict[str, Any]) -> int:
    family = {name: point for name, point in verbs.items() if name.startswith(f"{words[0]}.")}
    if family and (len(words) == 1 or words[1] in ("-h", "--help")):
        print(_help(family))
        return 0 if len(words) > 1 else 2
    spoken = [name.replace(".", " ") for name in verbs]
    given = " ".join(word for word in words[:2] if not word.startswith("-"))
    close = difflib.get_close_matches(given, spoken, 1) or difflib.get_close_matches(words[0], spoken, 1)
    hint = f"Did you mean `codriver {close[0]}`?" if close else "`codriver --help` lists the verbs."
    return _fail(f"there is no verb {given!r}. {hint}")


def _help(verbs: Dict[str, Any]) -> str:
    names = {name: name.replace(".", " ") for name in verbs}
    width = max((len(text) for text in names.values()), default=0)
    lines = ["usage: codriver VERB [ARGUMENT ...]", "", "verbs:"]
    lines += [f"  {names[name]:<{width}}  {_summary(point)}".rstrip() for name, point in verbs.items()]
    if not verbs:
        lines.append("  none is installed")
    lines += ["", "`codriver VERB --help` says more about a verb; `codriver --version` prints the version."]
    return "\n".join(lines)


def _summary(point: Any) -> str:
    """First line of the docstring of a verb's module, read without importing it."""
    module = str(point.value).partition(":")[0]
    try:
        found = _find_source(module)
        if found is None:
            return ""
        with open(found, encoding="utf-8") as file:
            text = ast.get_docstring(ast.parse(file.read())) or ""
    except (OSError, SyntaxError, ImportError, ValueError):
        return ""
    return re.sub(r"^`+codriver [^`]*`+: ", "", text.partition("\n")[0])


def _find_source(module: str) -> str | None:
    """File of a module. Its packages are looked up by path: importing them could load half of the program."""
    top, *inner = module.split(".")
    spec = util.find_spec(top)
    if spec is None:
        return None
    if not inner:
        return spec.origin
    for folder in spec.submodule_search_locations or ():
        base = os.path.join(folder, *inner)
        for path in (f"{base}.py", os.path.join(base, "__init__.py")):
            if os.path.isfile(path):
                return path
    return None


def _extra(module: str) -> str | None:
    top = module.partition(".")[0]
    return next((extra for extra, modules in _EXTRAS.items() if top in modules), None)


def _fail(message: str) -> int:
    print(f"codriver: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
