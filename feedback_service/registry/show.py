"""What the ``codriver models`` verbs print."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from codriver.errors import CodriverError
from codriver.v1 import feedback_admin_service_pb2 as pb
from feedback_service.registry.inspect import KIND_WORDS
from feedback_service.registry.store import SHIPPED_DIRECTORY


def fail(verb: str, error: CodriverError) -> int:
    """Prints an error in one line; returns the exit status for bad input."""
    print(f"codriver {verb}: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def count(parameters: int) -> str:
    """A number of parameters for people, as ``1.2 M``; empty when it is not known."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if parameters >= limit:
            return f"{parameters / limit:.3g} {unit}"
    return str(parameters or "")


def describe(model: pb.CoachModel) -> str:
    """A model in one line."""
    kind = KIND_WORDS.get(model.kind, "?")
    parameters = count(model.parameters)
    return (
        f"{kind}, {model.family}, {parameters + ' parameters, ' if parameters else ''}version {model.version}"
    )


def as_json(model: pb.CoachModel) -> dict[str, object]:
    """A model as JSON values."""
    return {
        "name": model.name,
        "kind": KIND_WORDS.get(model.kind, ""),
        "path": model.path,
        "family": model.family,
        "version": model.version,
        "parameters": model.parameters,
        "coaches": list(model.coaches),
        "problem": model.problem,
    }


def print_table(models: Sequence[pb.CoachModel]) -> None:
    """The models as a table, and below it what is wrong with some of them."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("name", "kind", "family", "parameters", "version", "used by"):
        table.add_column(heading, justify="right" if heading == "parameters" else "left", no_wrap=True)
    table.add_column("where", overflow="fold")
    for model in models:
        cells = (
            model.name,
            KIND_WORDS.get(model.kind, "?"),
            model.family or "-",
            count(model.parameters) or "-",
            model.version or "-",
            ", ".join(model.coaches),
            _place(model),
        )
        table.add_row(*(Text(cell) for cell in cells))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # nobody's window: whole paths
    console.print(table)
    for model in models:
        if model.problem:
            console.print(Text(f"{model.name}: {model.problem}"), soft_wrap=True)


def _place(model: pb.CoachModel) -> str:
    """Its directory, short where that is possible."""
    if not model.path or Path(model.path).parent == SHIPPED_DIRECTORY:
        return "shipped" if model.path else "at Triton"
    try:
        return str(Path(model.path).relative_to(Path.cwd()))
    except ValueError:
        return model.path


@contextmanager
def status(text: str) -> Iterator[None]:
    """Shows on a terminal, or every half minute in a log, that something takes its time."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            progress.add_task(text, total=None)
            yield
        return
    done = threading.Event()

    def tell() -> None:
        waited_s = 0
        while not done.wait(30):
            waited_s += 30
            print(f"{text}: {waited_s} s so far", file=sys.stderr, flush=True)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
