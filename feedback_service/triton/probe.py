"""Is somebody behind this model? A call that costs the model next to nothing."""

from __future__ import annotations

import numpy as np

from feedback_service.triton.client import Tensor, TritonClient
from feedback_service.triton.errors import TritonError, TritonReason

_NUMBERS = {"INT32": np.int32, "INT64": np.int64, "FP32": np.float32}


async def probe(client: TritonClient, model: str, timeout_s: float) -> None:
    """Asks a model about one row without a picture: it answers with the row's error, and has shown that it lives.

    Triton's own readiness does not tell: a model whose process is dead stays READY there.

    Raises:
        TritonError: The model does not answer.
    """
    described = await client.metadata(model, timeout_s)
    inputs: dict[str, Tensor] = {}
    for tensor in described.inputs:
        if tensor.datatype == "BYTES":
            inputs[tensor.name] = [b""]
        elif tensor.datatype in _NUMBERS:
            shape = [1, *(max(1, extent) for extent in tensor.shape[1:])]
            inputs[tensor.name] = np.zeros(shape, _NUMBERS[tensor.datatype])
        else:
            detail = f"{model} has an input {tensor.name} of {tensor.datatype}"
            raise TritonError(TritonReason.BAD_ANSWER, detail)
    await client.infer(model, inputs, ["error"], timeout_s)


async def calls_answered(client: TritonClient, model: str) -> int:
    """How many calls the model has answered, well or badly, since it was loaded; 0 if that is not known."""
    try:
        statistics = await client.statistics(model)
    except TritonError:
        return 0
    return sum(
        one.inference_stats.success.count + one.inference_stats.fail.count for one in statistics.model_stats
    )
