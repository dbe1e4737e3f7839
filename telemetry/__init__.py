"""What operators see while it happens, as OpenTelemetry metrics. docs/operations.md says what each means.

instruments.py   every metric: its name, unit and attributes
record.py        what happened -> the metrics
export.py        where they go, by configuration

Metrics are for watching: one of a process that was killed is lost. What is billed is in the tables.
"""
