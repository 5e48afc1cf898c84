"""FeedbackAdminService: which models stand behind the coaches, on a listener of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

from codriver.errors import InvalidArgumentError
from codriver.serving.status import Context, Handler, unary_handlers
from codriver.v1 import feedback_admin_service_pb2 as pb
from feedback_service.registry.swap import ModelSwitch

SERVICE_NAME = "codriver.v1.FeedbackAdminService"


class FeedbackAdminService:
    """The servicer. Belongs to the event loop; what reads or writes files runs on threads."""

    def __init__(self, switch: ModelSwitch) -> None:
        """A service over the switch and its store."""
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
        """Every model, and the coaches that it answers for now."""
        return pb.ListModelsResponse(models=await asyncio.to_thread(self._switch.models))

    async def add_model(self, request: pb.AddModelRequest, context: Context) -> pb.AddModelResponse:
        """Checks a checkpoint directory and takes it into the store."""
        if not request.path:
            raise InvalidArgumentError("path is empty; name a model's directory", field="path")
        model = await asyncio.to_thread(self._store.add, request.kind, Path(request.path), request.name)
        return pb.AddModelResponse(model=model.message())

    async def use_model(self, request: pb.UseModelRequest, context: Context) -> pb.UseModelResponse:
        """Loads a model beside the one that answers, and switches when it has proven itself."""
        done = await self._switch.use(request.coach, request.name)
        answering = {done.coach: done.model.name}
        response = pb.UseModelResponse(
            coach=done.coach, model=done.model.message(answering), load_ms=done.load_ms
        )
        if done.before is not None:
            response.before.CopyFrom(done.before.message())
        return response

    async def remove_model(self, request: pb.RemoveModelRequest, context: Context) -> pb.RemoveModelResponse:
        """Forgets a model that no coach uses."""
        await asyncio.to_thread(self._store.remove, request.name)
        return pb.RemoveModelResponse()
