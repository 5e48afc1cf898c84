"""What simulators, servers and coaches agree on for driving: channels, palettes, state items, action space.

Sources: Found-RL section on observations and its released configuration (facts only); see docs/observation.md.
"""

from typing import Tuple

import numpy as np

from codriver.v1 import action_pb2, observation_pb2, tensor_pb2

MASK_CHANNELS: Tuple[str, ...] = (
    "road",
    "route",
    "lane_markings",
    *(f"vehicles_{s:.1f}s" for s in (1.5, 1.0, 0.5, 0.0)),
    *(f"walkers_{s:.1f}s" for s in (1.5, 1.0, 0.5, 0.0)),
    *(f"stops_{s:.1f}s" for s in (1.5, 1.0, 0.5, 0.0)),
)
"""The 15 channels of the BEV masks; a suffix says how long ago."""

MASK_LEVELS: Tuple[Tuple[int, ...], ...] = ((0, 120, 255),) * 3 + ((0, 255),) * 8 + ((0, 80, 170, 255),) * 4
"""Levels of each channel. Road and route: 120 is the ego's box. Markings: 120 is a broken line.
Stops: 80 green, 170 yellow, 255 red or an active stop sign."""

MASK_SIZE_PX = 96
MASK_PX_PER_M = 2.5
PICTURE_SIZE_PX = 192
PICTURE_PX_PER_M = 5.0

STATE_ITEMS: Tuple[str, ...] = (
    "throttle",
    "steer",
    "brake",
    "gear_fifth",
    "velocity_x_mps",
    "velocity_y_mps",
    "light_state",
    "light_distance_ratio",
    "light_phase_remaining",
    "at_stop_sign",
)
"""The 10 items of the state vector (float32)."""

ACTION_NAMES: Tuple[str, ...] = ("acceleration", "steer")


def to_control(action: np.ndarray) -> np.ndarray:
    """Maps 2-D actions to vehicle controls.

    Args:
        action: (..., 2) acceleration and steer, each -1..1 (steer 1 is right).

    Returns:
        (..., 3) float32 throttle 0..1, steer -1..1, brake 0..1.
    """
    action = np.asarray(action, dtype=np.float32)
    acceleration, steer = action[..., 0], action[..., 1]
    return np.stack(
        [np.clip(acceleration, 0, 1), np.clip(steer, -1, 1), np.clip(-acceleration, 0, 1)], axis=-1
    ).astype(np.float32)


def to_action(control: np.ndarray) -> np.ndarray:
    """Maps vehicle controls to 2-D actions: the inverse of :func:`to_control` and the paper's rule for VLM answers.

    Acceleration is throttle where throttle > 0 and throttle > brake, else -brake (a tie brakes).

    Args:
        control: (..., 3) throttle, steer, brake.

    Returns:
        (..., 2) float32 acceleration and steer.
    """
    control = np.asarray(control, dtype=np.float32)
    throttle, steer, brake = control[..., 0], control[..., 1], control[..., 2]
    acceleration = np.where((throttle > 0) & (throttle > brake), throttle, -brake)
    return np.stack([np.clip(acceleration, -1, 1), np.clip(steer, -1, 1)], axis=-1).astype(np.float32)


def observation_spec(picture: bool = False) -> observation_pb2.ObservationSpec:
    """The tensors of the standard driving observation, in wire order.

    Args:
        picture: True adds the optional picture for coaches. It is never an input of the policy and does not
            change the spec hash.

    Returns:
        ``bev_masks`` (15, 96, 96) uint8 as palette bit-planes, ``state`` (10,) float32 raw, and with ``picture``
        the optional ``picture`` (192, 192, 3) uint8 as PNG.
    """
    spec = observation_pb2.ObservationSpec()
    spec.tensors.add(
        name="bev_masks",
        dtype=tensor_pb2.DTYPE_UINT8,
        shape=[len(MASK_CHANNELS), MASK_SIZE_PX, MASK_SIZE_PX],
        encoding=tensor_pb2.ENCODING_BIT_PLANES,
        channel_names=MASK_CHANNELS,
        palettes=[tensor_pb2.Palette(levels=bytes(levels)) for levels in MASK_LEVELS],
    )
    spec.tensors.add(
        name="state",
        dtype=tensor_pb2.DTYPE_FLOAT32,
        shape=[len(STATE_ITEMS)],
        encoding=tensor_pb2.ENCODING_RAW,
        channel_names=STATE_ITEMS,
    )
    if picture:
        spec.tensors.add(
            name="picture",
            dtype=tensor_pb2.DTYPE_UINT8,
            shape=[PICTURE_SIZE_PX, PICTURE_SIZE_PX, 3],
            encoding=tensor_pb2.ENCODING_PNG,
            optional=True,
        )
    return spec


def action_spec() -> action_pb2.ActionSpec:
    """The standard driving action: acceleration and steer, each -1 to 1 (steer 1 is right)."""
    return action_pb2.ActionSpec(names=ACTION_NAMES, low=[-1.0, -1.0], high=[1.0, 1.0])


SPEC_HASH = "7cba8d82980330d8e4b38c0e4d4d9c64ed2d6da71524b32a760c310734f9510d"
"""Hash of :func:`observation_spec` and :func:`action_spec` (docs/protocol.md, "Spec hash"); a test recomputes it."""
