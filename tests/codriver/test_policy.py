"""A remote policy counts keys, ends episodes and tells which row failed."""

from __future__ import annotations

import numpy as np
import pytest

from codriver import driving
from codriver.errors import FrameFailedError, InvalidArgumentError, TensorError
from codriver.keys import KeyCounter
from codriver.policy import RemotePolicy
from codriver.v1 import observation_pb2 as pb
from tests.codriver.loopback import Loopback

pytestmark = pytest.mark.compat


def observation(rows, value=0.25):
    return {
        "bev_masks": np.zeros((rows, 15, 96, 96), np.uint8),
        "state": np.full((rows, 10), value, np.float32),
    }


@pytest.fixture
def server(tmp_path):
    with Loopback(tmp_path / "s") as server:
        yield server


def test_batch_and_episodes(server):
    with RemotePolicy(server.address, num_envs=3) as policy:
        assert policy.session.info.spec_hash == driving.SPEC_HASH
        actions = policy.infer(observation(3))
        assert actions.shape == (3, 2) and actions.dtype == np.float32
        actions = policy.infer(observation(3), rewards=[1, 2, 3], terminated=[False, True, False])
        assert actions[:, 0].tolist() == [0.25, 0, 0.25]
        policy.infer(observation(2), envs=[1, 2], truncated=[False, True])
        policy.reset([0])
        policy.infer(observation(3))
    kinds = [list(zip(batch.env, batch.episode, batch.step, batch.step_kind)) for batch in server.batches]
    assert kinds == [
        [(0, 0, 0, pb.STEP_KIND_FIRST), (1, 0, 0, pb.STEP_KIND_FIRST), (2, 0, 0, pb.STEP_KIND_FIRST)],
        [(0, 0, 1, pb.STEP_KIND_MID), (1, 0, 1, pb.STEP_KIND_TERMINATED), (2, 0, 1, pb.STEP_KIND_MID)],
        [(1, 1, 0, pb.STEP_KIND_FIRST), (2, 0, 2, pb.STEP_KIND_TRUNCATED)],
        [(0, 1, 0, pb.STEP_KIND_FIRST), (1, 1, 1, pb.STEP_KIND_MID), (2, 1, 0, pb.STEP_KIND_FIRST)],
    ]
    assert list(server.batches[1].reward) == [1, 2, 3] and not server.requests


def test_one_environment_without_batch_dimension(server):
    with RemotePolicy(server.address) as policy:
        single = {name: value[0] for name, value in observation(1).items()}
        assert policy.infer(single).tolist() == [0.25, 1]
        assert policy.infer(single, applied_actions=np.array([0.1, 0.2])).shape == (2,)
        assert server.batches[1].applied_action[0] == pytest.approx(0.1)


def test_what_does_not_fit_counts_nothing(server):
    with RemotePolicy(server.address, num_envs=2) as policy:
        policy.infer(observation(2))
        with pytest.raises(TensorError, match="3 rows for 2 environments"):
            policy.infer(observation(3))
        with pytest.raises(TensorError, match="float64"):
            policy.infer({**observation(2), "state": np.zeros((2, 10))})
        policy.infer(observation(2))
        assert list(server.batches[-1].step) == [1, 1]


def test_a_failed_row_begins_anew(server):
    with RemotePolicy(server.address, num_envs=2) as policy:
        policy.infer(observation(2))
        encode = policy._encoder.encode
        bad = encode(observation(2), **KeyCounter(2).take()._asdict())
        bad.tensors[1].data = bad.tensors[1].data[:40] + np.full(10, np.nan, np.float32).tobytes()
        policy._encoder.encode = lambda *a, **k: bad.__class__.FromString(
            encode(*a, **k).SerializeToString().replace(encode(*a, **k).tensors[1].data, bad.tensors[1].data)
        )
        with pytest.raises(FrameFailedError) as caught:
            policy.infer(observation(2))
        assert list(caught.value.rows) == [1] and policy.last.action[0, 0] == pytest.approx(0.25)
        policy._encoder.encode = encode
        policy.infer(observation(2))
        assert list(server.batches[-1].step) == [2, 0] and list(server.batches[-1].episode) == [0, 1]


def test_keys_refuse():
    keys = KeyCounter(2)
    for envs in ([0, 0], [2], [-1]):
        with pytest.raises(InvalidArgumentError, match="distinct"):
            keys.take(envs)
    with pytest.raises(InvalidArgumentError, match="cannot be its last"):
        keys.take([0], terminated=[True])
    assert keys.take([0]).step == [0]
