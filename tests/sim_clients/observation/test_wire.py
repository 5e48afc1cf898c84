"""An observation fits the standard spec and crosses the wire without loss."""

import numpy as np

from codriver.codecs.column import decode_column, encode_column, row_nbytes
from codriver.driving import observation_spec
from sim_clients.observation.example_town import around_a_block, drive, example_map
from sim_clients.observation.observer import Observer
from tests.sim_clients.observation.helpers import Progress, Report


def test_observations_of_a_busy_town_cross_the_wire(tmp_path):
    scene_map = example_map()
    observer = Observer(scene_map, tmp_path)
    seen = [
        observer.observe(scene, Report(progress=Progress(index)), picture=True)
        for scene, index in drive(scene_map, around_a_block(), 40)
    ]
    masks, state, picture = observation_spec(picture=True).tensors
    assert row_nbytes(masks) == 25_344
    # Every channel has been in use, so that the test is one of every plane.
    assert np.stack([one.masks for one in seen]).any(axis=(0, 2, 3)).all()
    for spec, name in ((masks, "masks"), (state, "state"), (picture, "picture")):
        rows = np.stack([getattr(one, name) for one in seen])
        column = encode_column(spec, rows, present=list(range(len(rows))) if spec.optional else None)
        assert (decode_column(spec, column, len(rows)) == rows).all()
