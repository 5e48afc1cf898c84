"""The policy card: everything about a policy except its weights, as one JSON object."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from google.protobuf import json_format

from codriver.errors import CodriverError, InvalidArgumentError
from codriver.spec import check_action_spec, check_observation_spec, spec_hash
from codriver.v1 import action_pb2, observation_pb2

FORMAT = "codriver-policy/1"
"""Value of the card's ``format``; the number changes when older readers cannot read the directory."""
ID_PATTERN = re.compile(r"[a-z0-9._-]{1,64}\Z")


class CardError(InvalidArgumentError):
    """A card is not valid; ``field`` names the entry at fault."""

    default_reason = "INVALID_POLICY_CARD"


@dataclass(frozen=True)
class PolicyCard:
    """What a policy is, what it reads and answers, and where it comes from.

    Attributes:
        id: Name of the policy; [a-z0-9._-], 1 to 64 characters.
        architecture: Name in the entry point group ``codriver.architectures``, or a built-in one.
        arguments: Keyword arguments of the architecture, JSON values.
        observation_spec: The tensors that the policy reads, in order.
        action_spec: The actions that it answers.
        has_value: True: it estimates the discounted return.
        exploration_std: (A,) standard deviations of stochastic sampling. None: it is deterministic only.
        parameters: Exact numbers of parameters by part.
        training: Provenance: data, command, seeds, versions. JSON values.
        metrics: Results by name, of training and of evaluations. JSON values.
        weights_sha256: Hash of the weights file; set when the directory is written.
    """

    id: str
    architecture: str
    observation_spec: observation_pb2.ObservationSpec
    action_spec: action_pb2.ActionSpec
    arguments: Mapping[str, Any] = field(default_factory=dict)
    has_value: bool = False
    exploration_std: tuple[float, ...] | None = None
    parameters: Mapping[str, int] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""

    @property
    def spec_hash(self) -> str:
        """Hash of the observation and action spec, 64 hex digits."""
        return spec_hash(self.observation_spec, self.action_spec)

    @property
    def stochastic(self) -> bool:
        """True: actions can be sampled."""
        return self.exploration_std is not None

    def with_metrics(self, **metrics: Any) -> PolicyCard:
        """A copy with more metrics."""
        return replace(self, metrics={**self.metrics, **metrics})

    def check(self) -> None:
        """Checks the card in itself.

        Raises:
            CodriverError: ``field`` names the entry at fault.
        """
        if not ID_PATTERN.match(self.id):
            raise CardError(f"{self.id!r} is not 1 to 64 of a-z, 0-9, '.', '_' and '-'", field="id")
        check_observation_spec(self.observation_spec)
        check_action_spec(self.action_spec)
        std = self.exploration_std
        if std is not None and (
            len(std) != len(self.action_spec.names) or not all(0 <= s < 1e6 for s in std)
        ):
            count = len(self.action_spec.names)
            raise CardError(f"{list(std)} is not {count} numbers of 0 or more", field="exploration_std")

    def to_json(self) -> str:
        """The card as JSON text, one entry a line; :meth:`from_json` reads it back."""
        form = {
            "format": FORMAT,
            "id": self.id,
            "architecture": self.architecture,
            "arguments": dict(self.arguments),
            "spec_hash": self.spec_hash,
            "observation_spec": json_format.MessageToDict(
                self.observation_spec, preserving_proto_field_name=True
            ),
            "action_spec": json_format.MessageToDict(self.action_spec, preserving_proto_field_name=True),
            "has_value": self.has_value,
            "exploration_std": None if self.exploration_std is None else list(self.exploration_std),
            "parameters": dict(self.parameters),
            "training": dict(self.training),
            "metrics": dict(self.metrics),
            "weights_sha256": self.weights_sha256,
        }
        return json.dumps(form, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> PolicyCard:
        """Reads a card.

        Raises:
            CardError: The text is not a valid card; ``field`` names the entry at fault.
        """
        try:
            form = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CardError(f"is not JSON: {error}") from error
        if not isinstance(form, dict):
            raise CardError("is not a JSON object")
        if form.get("format") != FORMAT:
            raise CardError(f"is {form.get('format')!r}; this release reads {FORMAT!r}", field="format")
        for name, kind in _KINDS.items():
            if not isinstance(form.get(name), kind):
                raise CardError("is missing or of the wrong type", field=name)
        card = cls(
            id=form["id"],
            architecture=form["architecture"],
            arguments=form["arguments"],
            observation_spec=_message(form, "observation_spec", observation_pb2.ObservationSpec()),
            action_spec=_message(form, "action_spec", action_pb2.ActionSpec()),
            has_value=form["has_value"],
            exploration_std=_std(form.get("exploration_std")),
            parameters=form["parameters"],
            training=form["training"],
            metrics=form["metrics"],
            weights_sha256=form["weights_sha256"],
        )
        try:
            card.check()
        except CardError:
            raise
        except CodriverError as error:
            raise CardError(error.message, field=error.field) from error
        if form["spec_hash"] != card.spec_hash:
            raise CardError("does not belong to the specs that stand in the card", field="spec_hash")
        return card


_KINDS = {
    "id": str,
    "architecture": str,
    "arguments": dict,
    "spec_hash": str,
    "observation_spec": dict,
    "action_spec": dict,
    "has_value": bool,
    "parameters": dict,
    "training": dict,
    "metrics": dict,
    "weights_sha256": str,
}


def _message(form: Mapping[str, Any], name: str, message: Any) -> Any:
    try:
        return json_format.ParseDict(form[name], message)
    except json_format.ParseError as error:
        raise CardError(f"cannot be read: {error}", field=name) from error


def _std(value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(s, int | float) for s in value):
        raise CardError("is not a list of numbers", field="exploration_std")
    return tuple(float(s) for s in value)
