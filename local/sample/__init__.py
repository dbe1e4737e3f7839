"""Sample traffic from recorded provider responses, and what it adds up to, found without the collector's code.

records.py reads samples/recorded.jsonl; apps.py has the cast; traffic.py makes the events and their exact totals
(truth.py); send.py puts them on an event hub.
"""
