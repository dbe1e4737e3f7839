"""A small local Azure Functions host: runs an unmodified `function_app.py` without Azure and without Core Tools.

A local development tool. It does the job of Microsoft's host and Python worker for three triggers:
HTTP, Event Hubs (cardinality one and many) and timer, with retry policies and checkpoints.

    python -m local.functions_host --app DIR --port 7071

It does not do: function keys and other authentication (every HTTP function is anonymous), CORS, scaling,
functionTimeout, the monitor of missed timers (`past_due` is always False), any other trigger, any input or output
binding, AzureWebJobsStorage by identity (it must be a connection string). An app that uses a trigger or binding not
known here is refused at start.
"""
