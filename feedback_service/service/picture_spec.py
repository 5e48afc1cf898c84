"""The pictures of a stream: what is agreed in its first message."""

from __future__ import annotations

from codriver.errors import SpecError, Violation
from codriver.spec import dtype_name, encoding_name
from codriver.v1 import tensor_pb2

MAX_SIDE_PX = 4096


def check_picture_spec(spec: tensor_pb2.TensorSpec) -> None:
    """Checks that a tensor is a picture that coaches can read: PNG files of uint8, shape (height, width, 3).

    Raises:
        SpecError: It is not; one violation for each field at fault.
    """
    found: list[Violation] = []
    if spec.dtype != tensor_pb2.DTYPE_UINT8:
        found.append(Violation("picture_spec.dtype", f"is {dtype_name(spec.dtype)}; coaches read uint8"))
    if spec.encoding != tensor_pb2.ENCODING_PNG:
        found.append(
            Violation("picture_spec.encoding", f"is {encoding_name(spec.encoding)}; coaches read png")
        )
    shape = list(spec.shape[:9])
    if len(shape) != 3 or shape[2] != 3 or not all(1 <= side <= MAX_SIDE_PX for side in shape[:2]):
        found.append(
            Violation(
                "picture_spec.shape",
                f"{shape} is not (height, width, 3) with sides of 1 to {MAX_SIDE_PX}",
            )
        )
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise SpecError(f"{found[0].field} {found[0].description}{more}", violations=found)
