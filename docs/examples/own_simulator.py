"""Your own simulator on codriver, in 50 lines: a car on an endless straight road with a car ahead.

Start a server first (`codriver serve`), then: python docs/examples/own_simulator.py 127.0.0.1:50051
"""

import sys

import numpy as np

from codriver import RemotePolicy
from codriver.driving import MASK_PX_PER_M, to_control

STEP_S, LEAD_MPS = 0.1, 3.0
EGO_ROW, ROAD, ROUTE, CAR = 76, slice(40, 56), slice(44, 52), slice(46, 50)


def observe(speed_mps: float, gap_m: float, control: np.ndarray) -> dict[str, np.ndarray]:
    """Draws the 15 masks (docs/observation.md) and the state; up is ahead, the ego stands at row 76, column 48."""
    masks = np.zeros((15, 96, 96), np.uint8)
    masks[0, :, ROAD] = 255
    masks[1, : EGO_ROW + 1, ROUTE] = 255
    masks[0:2, EGO_ROW - 6 : EGO_ROW + 6, CAR] = 120  # the ego's own box
    for age, channel in enumerate((6, 5, 4, 3)):  # the car ahead: now, and 0.5, 1.0, 1.5 s ago
        ahead_m = gap_m + 5.0 - 0.5 * age * LEAD_MPS  # where it stood, seen from where the ego is now
        row = round(EGO_ROW - MASK_PX_PER_M * ahead_m)
        masks[channel, max(row - 6, 0) : max(row + 6, 0), CAR] = 255
    state = np.zeros(10, np.float32)
    state[:6] = (*control, 0.2, speed_mps, 0.0)  # throttle, steer, brake, gear, velocity
    state[7:9] = -1.0  # no light ahead
    return {"bev_masks": masks, "state": state}


def main(address: str, steps: int = 300) -> float:
    """Drives and returns the smallest gap to the car ahead, in metres."""
    speed_mps, gap_m, smallest_m = 0.0, 15.0, 15.0
    control = np.zeros(3, np.float32)
    with RemotePolicy(address, num_envs=1) as policy:
        for step in range(steps):
            action = policy.infer(observe(speed_mps, gap_m, control))
            control = to_control(action)
            speed_mps = max(0.0, speed_mps + (3.0 * control[0] - 8.0 * control[2] - 0.1 * speed_mps) * STEP_S)
            gap_m += (LEAD_MPS - speed_mps) * STEP_S
            smallest_m = min(smallest_m, gap_m)
            if step % 20 == 0:
                print(f"{step * STEP_S:4.1f} s  {speed_mps:4.1f} m/s  gap {gap_m:6.1f} m  {action.round(2)}")
    return smallest_m


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
