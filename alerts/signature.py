"""How a receiver knows that an alert came from us, was not changed, and is not an old one sent again: Standard Webhooks
1.0 (standardwebhooks.com), whose libraries check it. Pure.
"""

import base64
import hmac
from collections.abc import Mapping, Sequence


def signed(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The headers of a request at `timestamp` (Unix seconds): a signature with each key, so that one can follow
    another; without a key none. `message_id` is the same however often the message is sent, and has no dot."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = [f"v1,{base64.b64encode(hmac.digest(key, content, 'sha256')).decode()}" for key in keys]
    return headers | ({"webhook-signature": " ".join(signatures)} if signatures else {})
