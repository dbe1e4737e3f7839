"""alerts.signature: what Standard Webhooks says, computed here without it."""

import base64
import hashlib
import hmac

import pytest

from alerts.signature import signed
from models.errors import SettingsError
from settings import Settings

KEY, OTHER = b"k" * 24, b"o" * 64
GOOD = {"UsageStorage": "UseDevelopmentStorage=true", "USAGE_EVENTS_HUB": "usage-events"}


def by_hand(key: bytes, text: bytes) -> str:
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def test_the_example_of_the_standard() -> None:
    """The one of its specification and of its libraries' own tests."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_key_signs_so_that_one_can_follow_another() -> None:
    headers = signed([KEY, OTHER], "m", 7, b"\xff{}")
    assert headers["webhook-signature"].split(" ") == [by_hand(KEY, b"m.7.\xff{}"), by_hand(OTHER, b"m.7.\xff{}")]


def test_without_a_key_nothing_is_signed() -> None:
    assert set(signed([], "m", 7, b"{}")) == {"webhook-id", "webhook-timestamp"}


def test_the_setting_holds_one_or_several() -> None:
    def keys(text: str) -> tuple[bytes, ...]:
        return Settings.from_environment(GOOD | {"ALERT_WEBHOOK_SECRET": text}).alert_webhook_keys

    one, other = (f"whsec_{base64.b64encode(key).decode()}" for key in (KEY, OTHER))
    assert (keys(""), keys(one), keys(f"{one}, {other}")) == ((), (KEY,), (KEY, OTHER))


@pytest.mark.parametrize(
    "text", ["secret", "whsec_", "whsec_c2VjcmV0", "whsec_%%%", "@Microsoft.KeyVault(VaultName=v;SecretName=secret)"]
)
def test_what_is_no_secret_is_a_fault_and_not_repeated(text: str) -> None:
    with pytest.raises(
        SettingsError, match="ALERT_WEBHOOK_SECRET is no secret of a webhook: expected whsec_"
    ) as caught:
        Settings.from_environment(GOOD | {"ALERT_WEBHOOK_SECRET": text})
    assert len(text) < 8 or text not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://example.com/secret", "https://10.0.0.1/secret", "secret", "https://u:secret@a.de"]
)
def test_a_bad_webhook_is_a_fault_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match="ALERT_WEBHOOK is no webhook: expected") as caught:
        Settings.from_environment(GOOD | {"ALERT_WEBHOOK": url})
    assert "/secret" not in str(caught.value)
    allowed = {"ALERT_WEBHOOK": "http://10.0.0.1/x", "ALERT_WEBHOOK_ALLOW_PRIVATE": "1"}
    assert Settings.from_environment(GOOD | allowed).alert_webhook == "http://10.0.0.1/x"
