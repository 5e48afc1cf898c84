import pytest

from sim_clients.observation import Observer
from tests.sim_clients.observation.helpers import MAP


@pytest.fixture
def observer(tmp_path):
    return Observer(MAP, tmp_path)
