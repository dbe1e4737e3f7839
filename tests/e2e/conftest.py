"""The local stack, started once for all tests of this folder: real processes, the real SDK, HTTP."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from local.parts import running_stack
from local.ports import find_free
from local.progress import Display, make_console
from local.stack_settings import StackSettings
from services import Services
from tests.e2e.running import Running, services_beside
from tests.policies.conftest import gateway as gateway


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    http, amqp, table, blob = find_free(4)
    settings = StackSettings(http, amqp, table, blob, tmp_path_factory.mktemp("e2e"), sample=False)
    with ExitStack() as started:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("CALL_RETENTION_DAYS", "3650")  # some calls have fixed dates
            parts = started.enter_context(running_stack(settings, Display(make_console())))
        yield started.enter_context(Running(parts, settings.base_url))


@pytest.fixture
async def beside(stack: Running) -> AsyncIterator[Services]:
    """The app's services on the stack's tables, as another instance has them."""
    async with services_beside(stack) as found:
        yield found
