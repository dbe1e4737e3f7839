"""`python -m usage_cli`: usage and costs in a terminal. It knows nothing of the app but its HTTP API.

__main__.py   the words, and an error as one line
commands.py   what each command asks, and how its answer is written
times.py      months, days and "last 7d" -> the range to ask for (pure)
client.py     the API over HTTP: address, key or token, pages
tables.py     answers as tables (pure, but for the console)
"""
