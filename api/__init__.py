"""The HTTP API: a request in, a status, headers and a body out. No binding, no table is known here.

endpoints.py   finds the endpoint and turns every error into the one error shape
access.py      who may do what, and whose numbers a caller may see
formats.py     in which format an answer is wanted
usage.py       GET /api/usage
openai_usage.py  GET /api/v1/organization/usage/completions, .../embeddings, .../costs
calls.py       GET /api/calls, GET /api/calls/{request_id}
edits.py       what requests with a body have in common
registry.py    GET and PUT /api/apps/{app}, /api/models/{deployment}
listings.py    GET /api/apps, GET /api/models, and used.py what a caller's apps used
budgets.py     GET /api/budgets, GET, PUT and DELETE /api/budgets/{id}, GET /api/budgets/status,
               and unseen.py what is warned of
prices.py      GET /api/prices, GET, PUT and DELETE /api/prices/{id}
events.py      POST /api/events, and posted.py what stands in its body
dead_letters.py  GET /api/dead-letters, GET and DELETE /api/dead-letters/{id}, POST /api/dead-letters/redrive
health.py      GET /api/health
metrics.py     GET /api/metrics
docs.py        GET /api/openapi.json and GET /api/docs, made in openapi/
dashboard.py   GET /api/dashboard and its files, which are in dashboard/
"""
