"""What the ``codriver models`` verbs talk to: the running service, or the store itself when none runs."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import grpc

from codriver.connection import channel_options, metadata, target
from codriver.errors import FailedPreconditionError, InvalidArgumentError
from codriver.rpc_status import from_rpc_error
from codriver.serving.tls import channel_credentials
from codriver.v1 import feedback_admin_service_pb2 as pb
from codriver.v1.feedback_admin_service_pb2_grpc import FeedbackAdminServiceStub
from feedback_service.registry.inspect import KIND_WORDS, KINDS
from feedback_service.registry.service_file import read_service_file
from feedback_service.registry.store import DEFAULT_DIRECTORY, ModelStore

TOKEN_VARIABLE = "CODRIVER_TOKEN"
_QUICK_TIMEOUT_S = 30.0


class Models(Protocol):
    """The models of a store, wherever it is.

    Attributes:
        live: True: a service answers with them, and changes take effect at once.
    """

    live: bool

    def list(self) -> list[pb.CoachModel]:
        """Every model, by name."""

    def add(self, request: pb.AddModelRequest) -> pb.CoachModel:
        """Takes a checkpoint in."""

    def use(self, request: pb.UseModelRequest, timeout_s: float) -> pb.UseModelResponse:
        """Gives a coach a model."""

    def remove(self, name: str) -> None:
        """Forgets a model."""


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--store``, ``--service``, ``--token`` and ``--tls-ca``."""
    group = parser.add_argument_group("which store")
    group.add_argument(
        "--store",
        type=Path,
        default=DEFAULT_DIRECTORY,
        metavar="DIR",
        help="directory of the store (default: %(default)s)",
    )
    group.add_argument(
        "--service",
        metavar="ADDR",
        help="admin address of a running feedback service (default: the one that runs on the store)",
    )
    group.add_argument(
        "--token",
        default=os.environ.get(TOKEN_VARIABLE),
        help=f"bearer token, where the service wants one (default: the variable {TOKEN_VARIABLE})",
    )
    group.add_argument(
        "--tls-ca", type=Path, metavar="FILE", help="roots (PEM) of the service's certificate; implies TLS"
    )


@contextlib.contextmanager
def open_models(arguments: argparse.Namespace) -> Iterator[Models]:
    """The models that the options of :func:`add_store_options` name.

    Raises:
        CodriverError: The service cannot be called, or the store cannot be read.
    """
    store = ModelStore(arguments.store)
    address, tls = arguments.service, arguments.tls_ca is not None
    if address is None:
        facts = read_service_file(store.directory)
        if facts is None:
            yield LocalModels(store)
            return
        address, tls = facts.admin_address, tls or facts.tls
    address = target(address)
    options = channel_options(address)
    with (
        grpc.secure_channel(address, channel_credentials(arguments.tls_ca), options)
        if tls
        else grpc.insecure_channel(address, options)
    ) as channel:
        yield RemoteModels(channel, address, arguments.token)


class LocalModels:
    """The store itself: changes take effect when a service starts on it."""

    live = False

    def __init__(self, store: ModelStore) -> None:
        """The models of a store."""
        self._store = store

    def list(self) -> list[pb.CoachModel]:
        """Every model, by name."""
        coaches = self._store.coaches()
        return [model.message(coaches) for model in self._store.list()]

    def add(self, request: pb.AddModelRequest) -> pb.CoachModel:
        """Takes a checkpoint in."""
        return self._store.add(request.kind, Path(request.path), request.name).message()

    def use(self, request: pb.UseModelRequest, timeout_s: float) -> pb.UseModelResponse:
        """Notes the choice for the next start, after a look at the model's files."""
        model = self._store.refresh(request.name)
        word = KIND_WORDS[model.kind]
        coach = request.coach or word
        if KINDS.get(coach, model.kind) != model.kind:
            raise InvalidArgumentError(
                f"{model.name} is a model for {word} coaches, and coach {coach} is none", field="coach"
            )
        before = self._store.coaches().get(coach)
        self._store.set_in_use(coach, model.name)
        coaches = self._store.coaches()
        response = pb.UseModelResponse(coach=coach, model=model.message(coaches))
        if before is not None and before != model.name:
            response.before.CopyFrom(self._store.get(before).message(coaches))
        return response

    def remove(self, name: str) -> None:
        """Forgets a model."""
        self._store.remove(name)


class RemoteModels:
    """The models of a running service: changes take effect at once."""

    live = True

    def __init__(self, channel: grpc.Channel, address: str, token: str | None) -> None:
        """The models behind a channel."""
        self._stub = FeedbackAdminServiceStub(channel)
        self._address, self._metadata = address, metadata(token)

    def list(self) -> list[pb.CoachModel]:
        """Every model, by name."""
        return list(self._call(self._stub.ListModels, pb.ListModelsRequest()).models)

    def add(self, request: pb.AddModelRequest) -> pb.CoachModel:
        """Takes a checkpoint in; reading a large one takes minutes."""
        response: pb.AddModelResponse = self._call(self._stub.AddModel, request, 3600.0)
        return response.model

    def use(self, request: pb.UseModelRequest, timeout_s: float) -> pb.UseModelResponse:
        """Loads, warms up and switches."""
        response: pb.UseModelResponse = self._call(self._stub.UseModel, request, timeout_s)
        return response

    def remove(self, name: str) -> None:
        """Forgets a model."""
        self._call(self._stub.RemoveModel, pb.RemoveModelRequest(name=name))

    def _call(self, method: Any, request: Any, timeout_s: float = _QUICK_TIMEOUT_S) -> Any:
        try:
            return method(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                raise FailedPreconditionError(
                    f"{self._address} has no FeedbackAdminService",
                    hint="It is on a listener of its own: see `codriver feedback --help`.",
                ) from None
            raise from_rpc_error(error, f"the feedback service at {self._address}") from None
