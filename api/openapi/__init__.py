"""What /api/openapi.json and /api/docs say of the API.

shapes.py      the shapes of JSON answers; usage_shapes.py, entry_shapes.py, record_shapes.py
operations.py  what each endpoint takes and gives, each an Operation of operation.py
document.py    the OpenAPI document
page.py        the document as a page to read
"""
