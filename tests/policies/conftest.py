"""The gateway that the policy tests share."""

from collections.abc import Iterator

import pytest

from tests.policies.gateway import Gateway, NoMono


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("policies"))
    try:
        running.__enter__()
    except NoMono as missing:
        pytest.fail(str(missing), pytrace=False)
    yield running
    running.__exit__(None, None, None)
