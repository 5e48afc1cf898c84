"""FeedbackAdminService: the models behind the coaches, listed, added, swapped and removed while the service answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from codriver.errors import FailedPreconditionError, InvalidArgumentError
from codriver.serving.status import Context, Handler, unary_handlers
from codriver.v1 import feedback_admin_service_pb2 as pb
from feedback_service.registry.swap import ModelSwitch

SERVICE_NAME = "codriver.v1.FeedbackAdminService"


class FeedbackAdminService:
    """The servicer. Belongs to the event loop."""

    def __init__(self, switch: ModelSwitch) -> None:
        """A service over a switch and its store."""
        self._switch, self._store = switch, switch.store

    def handler(self) -> Handler:
        """The service for a gRPC server."""
        return unary_handlers(
            SERVICE_NAME,
            {
                "ListModels": (self.list_models, pb.ListModelsRequest),
                "AddModel": (self.add_model, pb.AddModelRequest),
                "UseModel": (self.use_model, pb.UseModelRequest),
                "RemoveModel": (self.remove_model, pb.RemoveModelRequest),
            },
        )

    async def list_models(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Every model, and which coach uses it."""
        return pb.ListModelsResponse(models=await asyncio.to_thread(self._switch.models))

    async def add_model(self, request: pb.AddModelRequest, context: Context) -> pb.AddModelResponse:
        """Checks a directory and takes it into the store."""
        path = Path(request.path)
        if not path.is_absolute():
            raise InvalidArgumentError(f"{request.path!r} is not an absolute path", field="path")
        model = await asyncio.to_thread(self._store.add, request.kind, path, request.name)
        return pb.AddModelResponse(model=model.message())

    async def use_model(self, request: pb.UseModelRequest, context: Context) -> pb.UseModelResponse:
        """Loads beside, warms up, switches."""
        if not request.name:
            raise InvalidArgumentError("name is empty; name a model of the store", field="name")
        done = await self._switch.use(request.coach, request.name)
        answering = self._switch.answering()
        response = pb.UseModelResponse(
            coach=done.coach, model=done.model.message(answering), load_ms=done.load_ms
        )
        if done.before is not None:
            response.before.CopyFrom(done.before.message(answering))
        return response

    async def remove_model(self, request: pb.RemoveModelRequest, context: Context) -> pb.RemoveModelResponse:
        """Forgets a model that no coach uses."""
        users = sorted(coach for coach, name in self._switch.answering().items() if name == request.name)
        if users:
            raise FailedPreconditionError(
                f"coach {', '.join(users)} uses {request.name}", reason="MODEL_IN_USE", field="name"
            )
        await asyncio.to_thread(self._store.remove, request.name)
        return pb.RemoveModelResponse()
