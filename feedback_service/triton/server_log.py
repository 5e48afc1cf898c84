"""What Triton last said, short enough for an error."""

from __future__ import annotations

import re
from pathlib import Path

_TAIL_BYTES = 32768
# I1121 15:39:40.488459 5002 server.cc:631]
_PREFIX = re.compile(r"^[IWE]\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ (?:[\w.]+:\d+\] )?\s*")


def last_words(log: Path, since: int = 0, lines: int = 4) -> str:
    """The last lines of a log that are worth quoting, joined by " / "; errors first where there are any.

    Args:
        log: The file.
        since: Only what stands behind this offset, in bytes.
        lines: How many at most.
    """
    try:
        with log.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(since, end - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    said = [line for line in text.splitlines() if line.strip() and line[0] not in "+|"]
    errors = [line for line in said if re.match(r"E\d{4} ", line)]
    picked = [_PREFIX.sub("", line).strip().strip('"').strip() for line in (errors or said)[-lines:]]
    return " / ".join(line[:300] for line in picked if line)
