"""Questions about usage and their answers.

parameters.py the parameters of each endpoint: their names, choices and bounds
question.py   the parameters of a request -> a checked UsageQuery
buckets.py    a range in a time zone -> where its hours, days, months begin (pure)
cursor.py     where a page ended <-> signed text (pure)
pricing.py    the prices that apply, and where they change
spans.py      a time range -> which rows answer it (pure)
read.py       those rows, read from the tables
names.py      what operators entered: models of deployments, cost centres of apps (pure)
asking.py     a question -> its sums, read, priced and named
compare.py    the range before, and what changed (pure)
answer.py     rows -> an answer: groups, totals, coverage (pure)
export.py     a page of a long export, part by part of its time
calls.py      single calls, from their own rows
explain.py    a call -> all that is known of it, and why (pure)
present.py    an answer, or rows -> JSON, lines of JSON, CSV (pure)
focus.py      rows -> charges as FOCUS has them (pure)
openai_parameters.py, openai_usage.py  the parameters and pages of OpenAI's organisation usage API (pure)
"""
