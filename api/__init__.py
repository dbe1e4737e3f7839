"""The HTTP API: a request's URL and headers in, a status, headers and a body out. No binding, no table is known here.

endpoints.py   finds the endpoint and turns every error into the one error shape
usage.py       GET /api/usage
listings.py    GET /api/apps, GET /api/models
health.py      GET /api/health
"""
