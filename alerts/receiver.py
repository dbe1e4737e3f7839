"""Where an alert is sent now, which is not where it would have been when it was raised: the old place may have been a
mistake, and nobody wants what it says there."""

from budgets.entry import stored_budget
from ledger.alerts import Receiver
from models.alert import Alert, Format
from services import Services


async def receiver_now(found: Services, alert: Alert) -> Receiver | None:
    """That of the current version of its budget, or of unusual hours; None if there is none any more. Raises
    StoreBusy."""
    if alert.budget is None:
        return _receiver(found.settings.alert_webhook, found.settings.alert_webhook_format)
    version = await found.budgets.get(alert.budget)
    entry = None if version is None else stored_budget(version.document)
    return None if entry is None else _receiver(entry.webhook, entry.format)


def _receiver(webhook: str | None, form: Format) -> Receiver | None:
    return None if webhook is None else Receiver(webhook, form)
