"""The figures of the documentation, from a made-up scene."""

import numpy as np

from sim_clients.observation.figures import masks_figure, pictures_figure
from sim_clients.observation.picture import PALETTE
from tests.sim_clients.observation.helpers import Report, wide_scene
from tests.sim_clients.scenes import actors


def test_figures_show_every_channel_and_every_colour(observer):
    observation = observer.observe(wide_scene(vehicles=actors((10, 3, 0))), Report(), picture=True)
    masks = masks_figure(observation.masks)
    assert masks.shape[2] == 3 and masks.shape[0] > 3 * 192 and masks.shape[1] > 5 * 192
    # The road is the first cell: its ego box at twice the size has 12 x 6 x 4 pixels of the middle level.
    assert (masks[:220, :210, 0] == 120).sum() >= 12 * 6 * 4
    pictures = pictures_figure([("one", observation.picture), ("none", None)])
    shown = {tuple(colour) for colour in np.unique(pictures.reshape(-1, 3), axis=0).tolist()}
    assert {tuple(colour) for colour in PALETTE.tolist()} <= shown
