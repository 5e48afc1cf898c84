"""Whether a request can be asked at all; if not, which field is wrong."""

from __future__ import annotations

import math
import struct

from codriver.codecs.png import SIGNATURE
from codriver.v1 import feedback_pb2, feedback_service_pb2, observation_pb2
from feedback_service.desk.settings import CoachSettings

MAX_SESSION_ID_CHARACTERS = 256
MAX_SPEED_MPS = 500.0
MAX_TARGET_M = 1e6
_COMMANDS = frozenset(observation_pb2.RouteCommand.values())
_HEADER = struct.Struct(">I4sII")


def wrong_field(
    request: feedback_service_pb2.AnnotationRequest, settings: CoachSettings, max_picture_bytes: int
) -> str | None:
    """What is wrong with a request to a coach.

    Returns:
        One line that begins with the field's name; None where nothing is wrong.
    """
    if not 1 <= len(request.key.session_id) <= MAX_SESSION_ID_CHARACTERS:
        return f"key.session_id: must have 1 to {MAX_SESSION_ID_CHARACTERS} characters"
    if request.kind != settings.kind:
        return f"kind: coach {settings.name!r} answers {_kind_name(settings.kind)}, not {_kind_name(request.kind)}"
    return _wrong_picture(request.picture, settings, max_picture_bytes) or _wrong_context(request)


def _wrong_picture(picture: bytes, settings: CoachSettings, max_picture_bytes: int) -> str | None:
    if len(picture) > max_picture_bytes:
        return f"picture: {len(picture)} bytes; at most {max_picture_bytes} are read"
    if not picture:
        return "picture: is missing"
    if not picture.startswith(SIGNATURE) or len(picture) < len(SIGNATURE) + _HEADER.size:
        return "picture: is not a PNG file"
    length, chunk, width, height = _HEADER.unpack_from(picture, len(SIGNATURE))
    if chunk != b"IHDR" or length != 13:
        return "picture: is not a PNG file"
    size = settings.picture_size_px
    if (width, height) != (size, size):
        return f"picture: is {width} x {height} pixels, not {size} x {size}"
    return None


def _wrong_context(request: feedback_service_pb2.AnnotationRequest) -> str | None:
    if not request.HasField("context"):
        return "context: is missing"
    context = request.context
    if context.command not in _COMMANDS:
        return f"context.command: {context.command} is no RouteCommand"
    for name, number, largest in (
        ("forward_speed_mps", context.forward_speed_mps, MAX_SPEED_MPS),
        ("target_x_m", context.target_x_m, MAX_TARGET_M),
        ("target_y_m", context.target_y_m, MAX_TARGET_M),
    ):
        if not math.isfinite(number):
            return f"context.{name}: is not finite"
        if abs(number) > largest:
            return f"context.{name}: must be from {-largest:g} to {largest:g}"
    return None


def _kind_name(kind: int) -> str:
    try:
        return feedback_pb2.FeedbackKind.Name(kind)
    except ValueError:
        return str(kind)
