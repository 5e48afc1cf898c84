"""The yardstick: a coach model's batched call in a process that does nothing else, PNG files in, answers out.

Runs in the models' environment: ``python -m feedback_service.bench.bare KIND DIRECTORY --batch 32 --seconds 5``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from codriver.v1 import observation_pb2
from feedback_service.bench.frames import Frames, load
from feedback_service.coaches.prompt import vlm_prompt
from feedback_service.models.clip.scorer import ClipScorer
from feedback_service.models.vlm.generator import VlmGenerator

Call = Callable[[int, int], Any]
"""(first row, rows) to answers."""


def clip_call(directory: Path, threads: int, dtype: str | None, frames: Frames) -> tuple[Call, int]:
    """The batched call of a CLIP, and its parameters."""
    from codriver.coaching.vocabulary import command_index, context_index, speed_index

    scorer = ClipScorer(directory, threads=threads, dtype=dtype)
    contexts = context_index(command_index(frames.commands), speed_index(frames.speeds_mps)).astype(np.int32)

    def call(first: int, rows: int) -> Any:
        picks = [(first + row) % len(frames) for row in range(rows)]
        return scorer.score([frames.pictures[pick] for pick in picks], contexts[picks])

    return call, int(scorer.parameters["parameters"])


def vlm_call(directory: Path, threads: int, dtype: str | None, frames: Frames) -> tuple[Call, int]:
    """The batched call of a VLM, and its parameters."""
    generator = VlmGenerator(directory, threads=threads, dtype=dtype)
    prompts = [
        vlm_prompt(
            observation_pb2.FeedbackContext(
                command=observation_pb2.RouteCommand.Name(command),
                forward_speed_mps=float(speed),
                target_x_m=40.0,
            )
        )
        for command, speed in zip(frames.commands, frames.speeds_mps)
    ]

    def call(first: int, rows: int) -> Any:
        picks = [(first + row) % len(frames) for row in range(rows)]
        return generator.answer([frames.pictures[pick] for pick in picks], [prompts[pick] for pick in picks])

    return call, generator.parameters


def measure(call: Call, batch: int, seconds: float, runs: int) -> dict[str, float]:
    """Rows a second over so many seconds, or so many runs where ``runs`` is not 0."""
    call(0, batch)
    done, begin = 0, time.perf_counter()
    while (done < runs) if runs else (time.perf_counter() - begin < seconds):
        call(done * batch, batch)
        done += 1
    elapsed = time.perf_counter() - begin
    return {"rows_per_s": done * batch / elapsed, "runs": done, "seconds": elapsed}


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("clip", "vlm"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype")
    parser.add_argument("--data", default="")
    arguments = parser.parse_args()
    make = clip_call if arguments.kind == "clip" else vlm_call
    call, parameters = make(
        arguments.directory, arguments.threads, arguments.dtype, load(arguments.data, 512)
    )
    figures = measure(call, arguments.batch, arguments.seconds, arguments.runs)
    print(json.dumps({"parameters": parameters, "batch": arguments.batch, **figures}))


if __name__ == "__main__":
    main()
