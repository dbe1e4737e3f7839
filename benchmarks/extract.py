"""From a response body to its usage, against the ways in which others get it: the same bodies, in the same run.

What a peer reads of a body must be what we read, before anything is timed. Bodies that it cannot read, or reads
otherwise, are left out of its comparison, and the figure's note says how many and why.
"""

import gc
from collections import Counter
from collections.abc import Iterable, Sequence

from benchmarks import peers
from benchmarks.bodies import CHUNKS, Body, lengthened, recorded
from benchmarks.figures import Figure, ratio
from benchmarks.peers import Counts, Peer
from collectors.body import read_body
from collectors.normalise import normalise
from collectors.shapes import recognise


def figures() -> Iterable[Figure]:
    """How many times as long each peer takes."""
    gc.freeze()  # what the peers' imports made is no garbage of ours
    bodies = [body for body in recorded("recorded.jsonl", "providers.jsonl") if _ours(body) is not None]
    streams = [body for body in bodies if body.streaming and body.operation == "chat" and '"choices"' in body.text]
    long = [lengthened(body) for body in streams]
    assert [_ours(body) for body in long] == [_ours(body) for body in streams]
    for name, those, rounds in (("recorded streams", streams, 101), (f"streams of {CHUNKS} chunks", long, 31)):
        yield _figure(f"{name}, every chunk parsed", peers.parse_every_chunk, those, rounds, 3)
        yield _figure(f"{name}, openai SDK's models", peers.openai_models, those, rounds, 10)
        yield _figure(f"{name}, the same but validated", peers.openai_models_validated, those, rounds, None)
        yield _figure(f"{name}, litellm's builder", peers.litellm_builder, those, rounds, 10)
    whole = [body for body in bodies if not body.streaming]
    yield _figure("recorded JSON bodies, genai-prices", peers.genai_extractor, whole, 101, 1)


def _ours(body: Body) -> Counts | None:
    stated = read_body(body.text, is_tail=False).usage
    shape = recognise(stated) if stated is not None else None
    usage = normalise(stated, shape) if stated is not None and shape is not None else None
    if usage is None:
        return None
    return (
        usage.prompt_tokens or 0,
        usage.completion_tokens or 0,
        usage.cached_prompt_tokens or 0,
        usage.reasoning_tokens or 0,
    )


def _figure(name: str, peer: Peer, bodies: Sequence[Body], rounds: int, goal: float | None) -> Figure:
    faults = [(body, _fault(peer, body)) for body in bodies]
    comparable = [body for body, fault in faults if fault is None]
    left_out = Counter(f"{body.provider} {body.operation} ({fault})" for body, fault in faults if fault is not None)
    note = f"{len(comparable)} of {len(bodies)} bodies"
    if left_out:
        note += "; left out: " + ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))

    def through(read: Peer) -> None:
        for body in comparable:
            read(body)

    times = ratio(lambda: through(peer), lambda: through(_ours), rounds)
    return Figure(f"extract: {name} / ours", times, "times", goal, at_most=False, note=note)


def _fault(peer: Peer, body: Body) -> str | None:
    """Why the peer's reading of a body cannot be compared with ours; None if it is the same."""
    try:
        found = peer(body)
    except NotImplementedError:
        return "not supported"
    except Exception as error:  # noqa: BLE001  # whatever a peer raises, it cannot read the body
        return type(error).__name__
    if found is None:
        return "finds no usage"
    return None if found == _ours(body) else f"finds {found}, not {_ours(body)}"
