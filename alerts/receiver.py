"""Where an alert is sent now, which is not where it would have been when it was raised: the old place may have been a
mistake, and nobody wants what it says there."""

import logging
from collections.abc import Collection, Mapping
from typing import Final

from pydantic import ValidationError

from budgets.entry import stored_budget
from ledger.alerts import Receiver
from models.alert import Alert, Format
from services import Services

log = logging.getLogger("usage_collector.alerts")

FEW: Final = 16
"""Of more budgets all are read."""


async def receiver_now(found: Services, alert: Alert) -> Receiver | None:
    """That of the current version of its budget, or of unusual hours; None if there is none any more. Where the budget
    cannot be read, as one that another version of this app wrote, it stays where it is. Raises StoreBusy."""
    if alert.budget is None:
        return _receiver(found.settings.alert_webhook, found.settings.alert_webhook_format)
    version = await found.budgets.get(alert.budget)
    try:
        entry = None if version is None else stored_budget(version.document)
    except ValidationError:
        log.exception("budget %s cannot be read", alert.budget)
        return _receiver(alert.webhook, alert.format)
    return None if entry is None else _receiver(entry.webhook, entry.format)


async def webhooks_now(found: Services, budgets: Collection[str]) -> Mapping[str, str | None]:
    """Of these budgets and perhaps others, by id, for a first sight of where their alerts go. Raises StoreBusy."""
    if len(budgets) > FEW:
        versions = await found.budgets.all()
    else:
        versions = [version for name in budgets if (version := await found.budgets.get(name))]
    texts = ((version.id, version.document.get("webhook")) for version in versions)
    return {name: webhook if isinstance(webhook, str) else None for name, webhook in texts}


def _receiver(webhook: str | None, form: Format) -> Receiver | None:
    return None if webhook is None else Receiver(webhook, form)
