from pathlib import Path

import pytest

from tests.fakes.local_app import LocalApp, make_app


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path)
