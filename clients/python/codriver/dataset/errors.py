"""The one error of datasets."""

from __future__ import annotations

from codriver.errors import FailedPreconditionError


class DatasetError(FailedPreconditionError):
    """A dataset, one of its files, or an episode to be stored is not valid; the message names which and why."""

    default_reason = "DATASET_NOT_USABLE"
