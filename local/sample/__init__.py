"""Sample traffic from recorded provider responses, and what it adds up to, found without the collector's code.

records.py reads samples/recorded.jsonl; apps.py has the cast; traffic.py makes the events, logs.py the gateway's own
log of some of them, and truth.py their exact totals; send.py puts them on the event hubs.
"""
