"""Budgets: what may be used in a day or a month, and what is used of it.

entry.py       a budget as the API takes and shows it and as the table keeps it (pure)
periods.py     the periods of a budget, and which of them are to be evaluated (pure)
projection.py  how much it will be at the period's end (pure)
measure.py     what was used, by the same sums and prices as GET /api/usage
verdict.py     a budget and what was used -> its state, its alerts, the status of an app (pure)
evaluate.py    the timer: reads, judges, raises alerts, notes states
status.py      whether an app is within its budgets, answered of what the timer noted
"""
