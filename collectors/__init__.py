"""From the hub's bytes to calls: decode, recognise the dialect, find the usage. Pure: bytes in, values out.

hub.py        what the trigger hands over -> raw events with their origin
decode.py     event body -> JSON objects (one, an array, or lines); cut.py: what a truncated one still says
envelopes.py  records out of their wrappers: {"records": [...]}, CloudEvents
dialects/     record -> UsageEvent, one module per dialect
call.py       UsageEvent -> Call: which call, who pays (identity.py), which model, what usage or why none
operations.py the list of the requests that ask no model, and so have no usage
body.py       provider response body -> what it says about usage; its framings: sse.py, aws_events.py
stream.py     a stream's chunks, read from the end; fragment.py: the tail of a document
places.py     the table of where usage stands in a response
shapes.py     the table of what usage looks like; normalise.py: its one meaning, models.usage.Usage
estimate.py   a call without usage -> with an estimate, if the setting is on; text.py: the table of where text stands
letters.py    a record that cannot be counted -> its dead letter, with what redact.py leaves of it (secrets.py: none)
record_names.py  by which names of members it tells what may stay
redriven.py   what a dead letter that is sent again says of itself
collect.py    all of it: events of one batch -> calls and dead letters
"""
