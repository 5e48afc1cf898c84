"""Your own simulator on codriver, in 50 lines: a car on an endless straight road with a car ahead.

Start a server first (`codriver serve`), then: python docs/examples/own_simulator.py 127.0.0.1:50051
"""

import sys

import numpy as np

from codriver import RemotePolicy
from codriver.driving import MASK_PX_PER_M, to_control

STEP_S, LEAD_MPS = 0.1, 3.0


def observe(speed_mps: float, gap_m: float, control: np.ndarray) -> dict[str, np.ndarray]:
    """Draws the 15 masks (docs/observation.md) and the state vector; the ego stands at row 76, column 48."""
    masks = np.zeros((15, 96, 96), np.uint8)
    masks[0, :, 40:56] = 255  # road
    masks[1, :77, 44:52] = 255  # route ahead
    masks[0:2, 70:82, 46:50] = 120  # the ego's box
    for age, channel in enumerate((6, 5, 4, 3)):  # the car ahead: now, and 0.5, 1.0, 1.5 s ago
        gap_then_m = gap_m + 0.5 * age * (LEAD_MPS - speed_mps) * -1
        row = int(76 - MASK_PX_PER_M * (gap_then_m + 5.0))
        masks[channel, max(row - 6, 0) : max(row + 6, 0), 46:50] = 255
    state = np.zeros(10, np.float32)
    state[:6] = (*control, 0.2, speed_mps, 0.0)
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
                print(
                    f"{step * STEP_S:5.1f} s  {speed_mps:4.1f} m/s  gap {gap_m:5.1f} m  action {action.round(2)}"
                )
    return smallest_m


if __name__ == "__main__":
    main(*sys.argv[1:2])
