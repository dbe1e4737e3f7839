"""collectors.operations: which paths ask a model. The policies run the same text: tests/policies/test_policies.py."""

import time

import pytest

from collectors.operations import asks_no_model

ASKS_NO_MODEL = [
    "/v1/chat/completions/chatcmpl-1",
    "/openai/v1/chat/completions/chatcmpl-1/",
    "/v1/threads",
    "/v1/threads/thread_1",
    "/v1/threads/thread_1/messages",
    "/v1/threads/thread_1/messages/msg_1",
    "/v1/threads/thread_1/runs/run_1",
    "/v1/threads/thread_1/runs/run_1/cancel",
    "/v1/responses/resp_1/cancel",
    "/v1/responses/input_tokens",
    "/v1/messages/count_tokens",
    "/v1/messages/batches",
    "/v1/messages/batches/msgbatch_1/cancel",
    "/openai/files",
    "/openai/files/file-1",
    "/upload/v1beta/files",
    "/v1/uploads/upload_1/parts",
    "/v1/batches",
    "/v1/fine_tuning/jobs",
    "/v1/fine_tuning/jobs/ftjob-1/checkpoints/ftckpt_1/permissions",
    "/v1/fine_tuning/jobs/0f8fad5b-d9cb-469f-a165-70867728950e/cancel",
    "/v1/vector_stores/vs_1/file_batches",
    "/v1/vector_stores/vs_1/file_batches/vsfb_1/cancel",
    "/api/projects/p/assistants/asst_1",
    "/api/projects/p/threads/thread_1/messages",
    "/v1/projects/p/locations/l/cachedContents",
    "/v1/batch/jobs",
    "/v1/chat/moderations",
    "/v1/realtime/sessions",
    "/v1/vector_stores/vs_1/search",
    "/v1/assistants/asst_1",
    "/v1/conversations/conv_1/items",
    "/v1/evals/eval_1/runs",
    "/v1/moderations",
    "/v1/rerank",
    "/V2/Rerank",
    "/v1/tokenize",
    "/v1/realtime/client_secrets",
    "/v1beta/cachedContents",
    "/v1beta/models/gemini-2.5-flash:countTokens",
    "/v1beta/models/gemini-2.5-flash:batchGenerateContent",
    "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict",
    "/model/anthropic.claude-v2%3A1/count-tokens",
]
ASKS_A_MODEL = [
    "/v1/chat/completions",
    "/openai/deployments/chat/chat/completions",
    "/openai/deployments/files/embeddings",
    "/v1/completions",
    "/v1/responses",
    "/v1/responses/compact",
    "/v1/messages",
    "/v1/threads/runs",
    "/v1/threads/thread_1/runs",
    "/v1/threads/thread_1/runs/run_1/submit_tool_outputs",
    "/v1/audio/transcriptions",
    "/v1/images/edits",
    "/v2/chat",
    "/v1/generate",
    "/v1beta/interactions",
    "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
    "/v1/projects/p/locations/l/publishers/anthropic/models/claude:rawPredict",
    "/model/cohere.rerank-v3/invoke",
    "/serving-endpoints/files/invocations",
    "/score",
    # an API that an operator called by the name of something else
    "/batches/v1/messages",
    "/files/openai/v1/chat/completions",
    "/assistants/chat/completions",
    "/openai/deployments/files/images/generations",
    "/threads/v1/chat/completions",
    "/evals/openai/deployments/chat/embeddings",
    "/assistants/ask",
    "/v1/assistants/ask",
    "/v1/assistants/hr-bot",
    "/conversations/summarize",
    "/batches/classify",
    "/files/x",
    "/threads/summarise",
    "/completions/v1",
    "/openai/deployments/completions/embeddings",
    "/openai/deployments/chat/chat/completions/v1",
    "/orders/cancel",
    "/tools/rerank",
    "/text/moderations",
    "/tokenize",
    "/count_tokens",
    # Mistral's, which report usage; OpenAI's of the same name are known by what they answer
    "/v1/conversations",
    "/v1/conversations/conv_1",
    "/v1/conversations/conv_1/restart",
]


@pytest.mark.parametrize("path", ASKS_NO_MODEL)
def test_what_asks_no_model_is_known(path: str) -> None:
    assert asks_no_model(path)


@pytest.mark.parametrize("path", ASKS_A_MODEL)
def test_what_asks_a_model_is_not_taken_for_something_else(path: str) -> None:
    assert not asks_no_model(path)


@pytest.mark.parametrize("piece", ["/files", "/files/a", "/threads", "/completions/", "/", "a", ":", "/batches/"])
def test_a_path_made_to_be_slow_is_not(piece: str) -> None:
    started = time.process_time()
    asks_no_model(piece * 20_000 + "/v1")
    assert time.process_time() - started < 1
