"""The names of members by which it is told what of a record may be kept (redact.py)."""

from typing import Final

IDENTIFIERS: Final = frozenset(
    {
        "category", "deployment", "event", "finish_reason", "finishreason", "id", "method", "modality", "model",
        "modelversion", "object", "role", "schema", "service_tier", "specversion", "status", "status_code",
        "statuscode", "stop_reason", "stopreason", "stream", "type",
    }
)  # fmt: skip
"""Names, in lower case, that are read in records and bodies of every kind, and whose values are words, not texts."""

CONTENT: Final = frozenset(
    {
        "answer", "arguments", "artifacts", "audio", "b64_json", "chat_history", "citations", "completion",
        "content", "contents", "context", "document", "documents", "embedding", "embeddings", "example", "examples",
        "file_data", "files", "function_call", "functions", "generated_text", "generation", "generations", "image",
        "image_url", "images", "input", "input_schema", "input_text", "inputs", "inputtext", "instruction",
        "instructions", "json_schema", "logit_bias", "logprobs", "messages", "metadata", "output", "output_text",
        "outputs", "outputtext", "parameters", "parts", "preamble", "prompt", "prompts", "query", "question",
        "reasoning", "reasoning_content", "refusal", "requestmessages", "response_format", "responsemessages",
        "segments", "stop", "stop_sequence", "stop_sequences", "suffix", "summary", "system", "system_instruction",
        "systeminstruction", "text", "texts", "thinking", "tool_calls", "tools", "transcript", "user_prompt",
        "words",
    }
)  # fmt: skip
"""Names, in lower case, under which prompts and answers stand. Nothing below them is ever read for a count."""

SAYS_NAME: Final = frozenset(
    {
        "field", "fieldname", "header", "headername", "k", "key", "keyname", "n", "name", "param", "parameter",
        "parametername", "property", "propertyname",
    }
)  # fmt: skip
SAYS_VALUE: Final = frozenset(
    {
        "content", "data", "fieldvalue", "headervalue", "parametervalue", "propertyvalue", "raw", "rawvalue", "string",
        "stringvalue", "text", "v", "val", "value", "values",
    }
)  # fmt: skip
"""Members of an object that stands for one member: `{"name": "api-key", "value": …}`; in lower case, without `_`."""
