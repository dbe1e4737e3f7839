"""Metrics as an app records them, read back with the SDK."""

from collections.abc import Iterator
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric, NumberDataPoint

from telemetry.record import Telemetry

Series = tuple[str, frozenset[tuple[str, Any]]]
"""A metric's name and its attributes."""


class Meter:
    """A Telemetry and what it recorded."""

    def __init__(self, *, by_app: bool = False):
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.telemetry = Telemetry(by_app=by_app, provider=self._provider)

    def metrics(self) -> Iterator[Metric]:
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                yield from scope.metrics

    def read(self) -> dict[Series, float]:
        """The value of each series; of a histogram its sum, and its count under the name with `#` in front."""
        values: dict[Series, float] = {}
        for metric in self.metrics():
            for point in metric.data.data_points:
                attributes = frozenset((point.attributes or {}).items())
                if isinstance(point, HistogramDataPoint):
                    values[metric.name, attributes] = point.sum
                    values["#" + metric.name, attributes] = point.count
                else:
                    assert isinstance(point, NumberDataPoint)
                    values[metric.name, attributes] = point.value
        return values

    def of(self, name: str, **attributes: Any) -> dict[tuple[Any, ...], float]:
        """The series of a metric that have these attributes, by the others' values in the order of names."""
        wanted = set(attributes.items())
        return {
            tuple(value for _, value in sorted(found - wanted)): amount
            for (series, found), amount in self.read().items()
            if series == name and found >= wanted
        }
