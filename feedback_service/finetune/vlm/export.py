"""Drives as conversations: what LLaMA-Factory and other trainers of vision-language models read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from codriver.errors import InvalidArgumentError
from feedback_service.coaches.prompt import answer_text
from feedback_service.finetune.vlm.answers import round_in_class
from feedback_service.finetune.vlm.rows import DriveRows

RECORDS, INFO, PICTURES = "conversations.json", "dataset_info.json", "pictures"
_NAME = "codriver_drives"


def export_conversations(rows: DriveRows, directory: Path) -> dict[str, Any]:
    """Writes one conversation a row: the picture and the prompt, then the expert's control as JSON.

    ``conversations.json`` is a list of ``{"id", "image", "conversations": [human, gpt]}``, with the picture's path
    relative to the directory; ``dataset_info.json`` tells LLaMA-Factory so (``dataset_dir: DIRECTORY``,
    ``dataset: codriver_drives``).

    Args:
        rows: What to write.
        directory: A new or empty directory.

    Returns:
        What was written.

    Raises:
        InvalidArgumentError: The directory is not empty.
    """
    if directory.exists() and any(directory.iterdir()):
        raise InvalidArgumentError(f"{directory} is not empty", hint="Export into a new directory")
    (directory / PICTURES).mkdir(parents=True)
    answers = [answer_text(control) for control in round_in_class(rows.control)]
    records = []
    for row in np.arange(len(rows)).tolist():
        name = f"{row:07d}"
        image = f"{PICTURES}/{name}.png"
        (directory / image).write_bytes(rows.picture(row))
        turns = [
            {"from": "human", "value": f"<image>\n{rows.prompt(row)}"},
            {"from": "gpt", "value": answers[row]},
        ]
        records.append({"id": name, "image": image, "conversations": turns})
    (directory / RECORDS).write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    columns = {"messages": "conversations", "images": "image"}
    info = {_NAME: {"file_name": RECORDS, "formatting": "sharegpt", "columns": columns}}
    (directory / INFO).write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
    return {"conversations": len(records), "directory": str(directory)}
