"""Triton's way to a CLIP scorer; the tensors are those of ``config.pbtxt``.

The Python of this Triton must be able to import codriver, with ``feedback_service.models.triton_clip``.
"""

try:
    from feedback_service.models.triton_clip import TritonPythonModel
except ImportError as error:
    raise RuntimeError(
        f"clip_score needs codriver's models in the Python of this Triton ({error}): "
        "pip install 'codriver[coach]' --constraint constraints-coach.txt"
    ) from error

__all__ = ["TritonPythonModel"]
