"""Calls into Table Storage, each exactly once: a call's mark and the sums it went into are one commit.

rows.py          what a row looks like: call rows, aggregate rows, their keys and columns
plan.py          calls -> transactions within the service's limits (pure)
commit.py        the loop that brings transactions through, whatever fails
cache.py         the aggregate rows as last seen, so that the steady state reads nothing before it writes
join.py          what the halves of one call tell -> the call to count (pure)
pending.py       where halves meet; settle.py counts those that waited too long, waiting.py tells how long they wait
purge.py         deletes call rows past their retention
verify.py        recomputes the sums from the call rows
progress.py      how far each hub partition is counted, for operators; traffic.py: what each hub takes in, hour by hour
directory.py     which apps and models have rows, so that a query never scans a table
schema.py        which version the tables' rows have; migrate.py brings older ones up to this one
forget.py        takes an app or a user out of calls and sums, forget_records.py out of the rest
snapshot.py      a partition as it is at one moment, for exports
odata.py         a row as JSON, its columns' types beside it
registry.py      what operators enter by hand: names of apps, models of deployments
dead_letters.py  records set aside; letter_rows.py: their rows; letter_census.py: how many
alerts.py        what somebody ought to know, to be sent once; alert_rows.py: its rows
versions.py      documents that operators edit, with their history
retry.py         how long to wait, how often to try, and writes that may be repeated as they are
store.py         the one module that talks to azure-data-tables; its errors say what to do next
group_transaction.py  a transaction as one request, and its answer
"""
