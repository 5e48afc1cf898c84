"""Messages between the parent and its workers."""

import numpy as np
import pytest

from codriver.driving import observation_spec
from codriver.v1 import observation_pb2, tensor_pb2
from sim_clients.drive.messages import (
    Row,
    decode_action,
    decode_row,
    decode_task,
    encode_action,
    encode_row,
    encode_task,
    join_rows,
)
from sim_clients.simulator import EpisodeTask


def _row(env: int, *, picture: bytes | None = None) -> Row:
    batch = observation_pb2.ObservationBatch(
        env=[env],
        episode=[env + 10],
        step=[env + 20],
        step_kind=[observation_pb2.STEP_KIND_MID],
        reward=[env / 2],
        applied_action=[env / 4, -env / 4],
    )
    batch.tensors.append(tensor_pb2.TensorColumn(data=bytes([env]) * 3))
    batch.tensors.append(tensor_pb2.TensorColumn(data=bytes([env + 100]) * 2))
    if picture is not None:
        batch.tensors.append(tensor_pb2.TensorColumn(data=picture, row_sizes_bytes=[len(picture)], rows=[0]))
    return Row(batch, {"speed_mps": float(env)})


def test_a_task_survives_the_pipe():
    task = EpisodeTask(3, 4, vehicles=7, walkers=8, endless=True, hard_reset=False)
    assert decode_task(encode_task(task, 5)) == (task, 5)


def test_an_action_survives_the_pipe():
    action = np.array([0.25, -0.5], np.float32)
    np.testing.assert_array_equal(decode_action(encode_action(action)), action)
    assert decode_action(encode_action(None)) is None


def test_a_row_survives_the_pipe():
    row = decode_row(encode_row(_row(3)))
    assert row == _row(3)
    assert not row.last


def test_joined_rows_are_columns_end_to_end():
    joined = join_rows([_row(0), _row(2)])
    assert list(joined.env) == [0, 2]
    assert list(joined.episode) == [10, 12]
    assert list(joined.step) == [20, 22]
    assert list(joined.reward) == [0.0, 1.0]
    assert list(joined.applied_action) == [0.0, 0.0, 0.5, -0.5]
    assert joined.tensors[0].data == b"\0\0\0\2\2\2"
    assert joined.tensors[1].data == bytes([100, 100, 102, 102])


def test_joined_pictures_keep_their_rows():
    joined = join_rows([_row(0, picture=b"abc"), _row(1, picture=b"de")])
    assert joined.tensors[2].data == b"abcde"
    assert list(joined.tensors[2].row_sizes_bytes) == [3, 2]
    assert list(joined.tensors[2].rows) == [0, 1]


@pytest.mark.parametrize("kind", [observation_pb2.STEP_KIND_TERMINATED, observation_pb2.STEP_KIND_TRUNCATED])
def test_a_final_row_is_last(kind):
    row = _row(0)
    row.batch.step_kind[0] = kind
    assert row.last


def test_the_spec_orders_the_columns():
    assert [spec.name for spec in observation_spec(picture=True).tensors] == ["bev_masks", "state", "picture"]
