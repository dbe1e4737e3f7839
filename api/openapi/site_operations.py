"""What the app says of itself: its health, its metrics, its documents and its page."""

from collections.abc import Mapping
from typing import Any, Final

from api.openapi.operation import Operation
from api.openapi.record_shapes import HealthAnswer
from queries.parameters import HealthParameters

_FILE: Final = {"file": (r"[A-Za-z.-]+", "app.js")}

SITE_OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "health": {
        "GET": Operation(
            "health",
            "Whether the app runs and is configured",
            {200: HealthAnswer, 503: HealthAnswer},
            "With `deep=1` also whether tables and hubs answer, and how far counting is behind; where callers sign in "
            "this needs the role Usage.Read.All or Usage.Admin.",
            takes=HealthParameters,
            refuses=(400, 401, 403),
            anonymous=True,
        )
    },
    "metrics": {
        "GET": Operation(
            "metrics",
            "Metrics for Prometheus",
            {},
            "docs/operations.md.",
            others={"text/plain": "Prometheus's text format."},
            refuses=(),
        )
    },
    "openapi": {"GET": Operation("openapi.json", "This document", {200: dict[str, Any]})},
    "docs": {"GET": Operation("docs", "This document as a page", {}, others={"text/html": "The page."})},
    "dashboard": {
        "GET": Operation(
            "dashboard",
            "The dashboard, a page without data",
            {},
            "It asks for a key, or to sign in, itself. docs/dashboard.md.",
            others={"text/html": "The page."},
            refuses=(),
            anonymous=True,
        )
    },
    "dashboard_file": {
        "GET": Operation(
            "dashboard/{file}",
            "What the dashboard is made of",
            {},
            path=_FILE,
            others={
                "text/javascript": "A script.",
                "text/css": "A style sheet.",
                "image/svg+xml": "A picture.",
                "text/plain": "A licence.",
            },
            refuses=(404,),
            anonymous=True,
        )
    },
}
