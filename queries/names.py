"""What operators entered, applied to an answer when it is asked for: so that correcting it corrects history. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from models.call import Call
from queries.question import UsageQuery

UNNAMED_MODEL: Final = "(unnamed model)"
"""What stands for a model that did not say its name, where there has to be one."""


@dataclass(frozen=True, slots=True)
class Names:
    """`aliases` are models by deployment, `cost_centers` and `display_names` those of apps."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    cost_centers: Mapping[str, str] = field(default_factory=dict)
    display_names: Mapping[str, str] = field(default_factory=dict)

    def model(self, model: str | None, deployment: str | None) -> str | None:
        """The model of a call that may be known by its deployment only."""
        return model if model is not None or deployment is None else self.aliases.get(deployment)

    def named(self, call: Call) -> Call:
        """The call with its model."""
        return call._replace(model=self.model(call.model, call.deployment))

    def value(self, name: str, app: str, columns: Mapping[str, Any]) -> str | None:
        """What an aggregate row of `app` is grouped and filtered by."""
        if name == "app":
            return app
        if name == "cost_center":
            return self.cost_centers.get(app)
        if name == "model":
            return self.model(columns.get("model"), columns.get("deployment"))
        value: str | None = columns.get(name)
        return value


def narrowed(query: UsageQuery, names: Names, allowed: Collection[str] | None) -> UsageQuery:
    """The question, of the apps only that its filters and its caller (`allowed`, None for all) leave: the one place
    that says so, before anything is read."""
    apps = query.filters.get("app")
    if "cost_center" in query.filters:
        wanted = query.filters["cost_center"]
        charged = frozenset(app for app, center in names.cost_centers.items() if center in wanted)
        apps = charged if apps is None else apps & charged
    if allowed is not None:
        apps = frozenset(allowed) if apps is None else apps & frozenset(allowed)
    return query if apps is None else replace(query, filters={**query.filters, "app": apps})
