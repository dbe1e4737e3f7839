"""Telling people: what was raised is sent, and hours that are far above what is usual are found (docs/alerts.md).

words.py      an alert in words and as the API shows it (pure)
payloads.py   an alert as CloudEvents, Teams and Slack take it (pure)
signature.py  how a receiver knows that it was us (pure)
send.py       one request to a webhook; the only module that calls one
receiver.py   where an alert is sent now
deliver.py    the timer: what is due is sent, sent again, or given up
anomaly.py    whether an hour is far above what is usual (pure)
anomalies.py  the timer that looks for such hours
"""
