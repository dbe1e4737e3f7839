"""From the hub's bytes to calls: decode, recognise the dialect, find the usage. Pure: bytes in, values out.

decode.py     event body -> records (an object, an array, or lines)
dialects/     record -> UsageEvent, one module per dialect
body.py       provider response body -> what it says about usage (framing: json, sse.py)
shapes.py     the table of providers' usage objects, and their normalisation to models.usage.Usage
collect.py    all of it: events of one batch -> calls and dead letters
"""
