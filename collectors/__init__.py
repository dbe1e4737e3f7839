"""From the hub's bytes to calls: decode, recognise the dialect, find the usage. Pure: bytes in, values out.

hub.py        what the trigger hands over -> raw events with their origin
decode.py     event body -> records (an object, an array, or lines)
dialects/     record -> UsageEvent, one module per dialect
call.py       UsageEvent -> Call: which call, who pays (identity.py), which model, what usage or why none
body.py       provider response body -> what it says about usage: JSON as it is,
stream.py     server-sent events (sse.py) from their end, fragment.py what a cut left of a document
shapes.py     the table of providers' usage objects, and their normalisation to models.usage.Usage
collect.py    all of it: events of one batch -> calls and dead letters
"""
