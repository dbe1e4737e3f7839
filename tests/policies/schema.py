"""What a policy file may hold: elements, attributes, C# types and members, as Microsoft's reference documents them.

Only what the policies use is listed: something new has to be looked up first and then added here with its source. All
pages are below learn.microsoft.com/azure/api-management/.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

INBOUND, BACKEND, OUTBOUND, ON_ERROR = "inbound", "backend", "outbound", "on-error"
EVERYWHERE = frozenset({INBOUND, BACKEND, OUTBOUND, ON_ERROR})


class Element(NamedTuple):
    """`sections`: where the policy may stand; children of a policy have those of their parent."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    children: frozenset[str] = frozenset()
    text: bool = False
    sections: frozenset[str] = EVERYWHERE


def _names(*names: str) -> frozenset[str]:
    return frozenset(names)


POLICY_NAMES = _names(
    "base", "cache-lookup-value", "cache-store-value", "choose", "forward-request", "include-fragment",
    "log-to-eventhub", "return-response", "send-request", "set-body", "set-header", "set-variable",
    "validate-azure-ad-token",
)  # fmt: skip

ELEMENTS = {
    # api-management-howto-policies; a fragment holds policies and no sections: policy-fragments
    "policies": Element(children=EVERYWHERE),
    "inbound": Element(children=POLICY_NAMES),
    "backend": Element(children=POLICY_NAMES),
    "outbound": Element(children=POLICY_NAMES),
    "on-error": Element(children=POLICY_NAMES),
    "fragment": Element(children=POLICY_NAMES - {"base", "include-fragment", "cache-lookup-value"}),
    # cache-lookup-value-policy: not supported in fragments, and once in a section; cache-store-value-policy
    "cache-lookup-value": Element(required=_names("key", "variable-name"),
                                  optional=_names("default-value", "caching-type")),
    "cache-store-value": Element(required=_names("key", "value", "duration"), optional=_names("caching-type")),
    # send-request-policy, in the order of its elements; authentication-managed-identity-policy
    "send-request": Element(
        required=_names("response-variable-name"), optional=_names("mode", "timeout", "ignore-error"),
        children=_names("set-url", "set-method", "set-header", "set-body", "authentication-managed-identity"),
    ),
    "set-url": Element(text=True),
    "set-method": Element(text=True),
    "authentication-managed-identity": Element(
        required=_names("resource"), optional=_names("client-id", "output-token-variable-name", "ignore-error"),
    ),
    # return-response-policy, set-status-policy
    "return-response": Element(optional=_names("response-variable-name"),
                               children=_names("set-status", "set-header", "set-body")),
    "set-status": Element(required=_names("code", "reason")),
    "base": Element(),
    # include-fragment-policy
    "include-fragment": Element(required=_names("fragment-id")),
    # set-variable-policy
    "set-variable": Element(required=_names("name", "value")),
    # choose-policy
    "choose": Element(children=_names("when", "otherwise")),
    "when": Element(required=_names("condition"), children=POLICY_NAMES),
    "otherwise": Element(children=POLICY_NAMES),
    # set-body-policy
    "set-body": Element(optional=_names("template", "xsi-nil", "parse-date"), text=True,
                        sections=_names(INBOUND, BACKEND, OUTBOUND)),
    # set-header-policy
    "set-header": Element(required=_names("name", "exists-action"), children=_names("value")),
    "value": Element(text=True),
    # log-to-eventhub-policy: partition-id or partition-key, only the latter takes an expression
    "log-to-eventhub": Element(required=_names("logger-id", "partition-key"), text=True),
    # forward-request-policy
    "forward-request": Element(
        optional=_names("http-version", "timeout", "timeout-ms", "continue-timeout", "follow-redirects",
                        "buffer-request-body", "buffer-response", "fail-on-error-status-code"),
        sections=_names(BACKEND),
    ),
    # validate-azure-ad-token-policy
    "validate-azure-ad-token": Element(
        required=_names("tenant-id"),
        optional=_names("header-name", "query-parameter-name", "token-value", "failed-validation-httpcode",
                        "failed-validation-error-message", "output-token-variable-name", "authentication-endpoint"),
        children=_names("backend-application-ids", "client-application-ids", "audiences", "required-claims",
                        "decryption-keys"),
        sections=_names(INBOUND),
    ),
    "audiences": Element(children=_names("audience")),
    "audience": Element(text=True),
}  # fmt: skip

# api-management-policy-expressions, "Context variable": what hangs on `context`, and the types of its members.
# Left out on purpose: Subscription.Key, PrimaryKey, SecondaryKey; LastError.Message; User.Email and the names.
CONTEXT_MEMBERS = _names(
    "Api", "Deployment", "Elapsed", "LastError", "Operation", "Product", "Request", "RequestId", "Response",
    "Subscription", "Timestamp", "User", "Variables",  # context
    "Id", "Name",  # Api, Operation, Product, Subscription, User
    "GatewayId", "Region", "ServiceName",  # Deployment
    "Source", "Reason", "Section",  # LastError
    "Body", "Headers", "IpAddress", "Method", "OriginalUrl", "StatusCode", "Url",  # Request, Response
    "As",  # IMessageBody
    "Path", "Query",  # IUrl
    "Claims",  # Jwt
    "GetValueOrDefault", "ContainsKey",  # Headers, Query, Claims, Variables
)  # fmt: skip

# The same page, ".NET Framework types allowed in policy expressions". All members are allowed of each of these.
TYPES = _names(
    "JArray", "JObject", "JProperty", "JTokenType",  # Newtonsoft.Json.Linq
    "DateTimeOffset", "Math", "StringComparison", "StringSplitOptions", "Uri",  # System
    "Enumerable",  # System.Linq
    "Encoding", "Regex", "RegexOptions",  # System.Text; of Regex the constructor, IsMatch, Match, Matches and others
    "IResponse",  # what send-request gives, as the page shows it
    "Jwt",  # of the context: what output-token-variable-name and AsJwt give
    "bool", "char", "int", "long", "string",  # System.Boolean, Char, Int32, Int64, String
)  # fmt: skip

TYPE_MEMBERS = _names(
    "Boolean", "Float", "Integer", "Null", "String",  # JTokenType
    "Children", "Descendants", "First", "HasValues", "Name", "Parent", "Parse", "Properties", "Remove", "Replace",
    "ToString", "Type", "Value",  # JObject, JProperty, JToken
    "Any", "Range", "SelectMany", "Take", "ToList", "Where",  # System.Linq.Enumerable
    "CompareOrdinal", "Contains", "EndsWith", "IndexOf", "Insert", "IsNullOrEmpty", "IsNullOrWhiteSpace", "LastIndexOf",
    "Length", "Split", "StartsWith", "Substring", "ToLowerInvariant", "Trim",  # System.String
    "IsHighSurrogate", "IsLowSurrogate", "IsWhiteSpace",  # System.Char
    "EscapeDataString", "UnescapeDataString",  # System.Uri
    "UtcDateTime",  # System.DateTimeOffset; ToString of the DateTime it gives is listed, too
    "TotalMilliseconds",  # System.TimeSpan
    "Ceiling", "Max", "Min", "Round",  # System.Math
    "UTF8", "GetByteCount",  # System.Text.Encoding
    "IgnoreCase", "IsMatch",  # System.Text.RegularExpressions.RegexOptions, Regex
    "Ordinal", "RemoveEmptyEntries",  # System.StringComparison, StringSplitOptions
)  # fmt: skip

KEYWORDS = _names(
    "as", "break", "catch", "else", "false", "for", "foreach", "if", "in", "new", "null", "return", "true", "try",
    "var", "while",
)  # fmt: skip

_NOT_CODE = re.compile(r'"(?:\\.|[^"\\])*"|/\*.*?\*/|Newtonsoft\.Json\.Formatting\.None', re.DOTALL)
_WORD = re.compile(r"(?P<dot>\.\s*)?\b(?P<word>[A-Za-z_]\w*)")
_DECLARED = re.compile(r"\bvar\s+(\w+)|(\w+)\s*=>")


def not_allowed(code: str) -> Iterator[str]:
    """The words of an expression that are neither C#'s, nor its own, nor on the lists above."""
    bare = _NOT_CODE.sub(" ", code)
    own = {name for names in _DECLARED.findall(bare) for name in names if name}
    free = KEYWORDS | TYPES | own | {"context", "preserveContent"}
    for found in _WORD.finditer(bare):
        if found["word"] not in (CONTEXT_MEMBERS | TYPE_MEMBERS if found["dot"] else free):
            yield found["word"]
