"""A server of completions that scores prompts, in the ways of several real ones."""

from __future__ import annotations

import json

import numpy as np
from chat_server import status

KINDS = ("prompt_logprobs", "echoed ids", "echoed texts")


def scoring(kind, values, encode, spell, model="teacher-7b", spoil=None):
    """A handler that scores prompts by `values`: ids -> log p [n, V] of what follows each.

    `spoil` may change an answer, knowing the ids that were asked for.
    """

    def act(handler, body):
        ids = encode(body["prompt"]) if isinstance(body["prompt"], str) else body["prompt"]
        logp = np.asarray(values(ids), np.float64)
        choice = {"text": "!", "logprobs": None}
        if kind == "prompt_logprobs" and (k := body.get(kind)) is not None:
            places = zip(ids[1:], logp[:-1], strict=True)
            choice[kind] = [None, *(by_id(*place, k, spell) for place in places)]
        elif kind.startswith("echoed") and body.get("echo"):
            named = kind == "echoed ids" and body.get("return_tokens_as_token_ids")
            name = (lambda i: f"token_id:{i}") if named else spell
            choice["logprobs"] = echoed(ids, logp, body["logprobs"], name)
        answer = {"model": model, "choices": [choice]}
        reply = spoil(ids, answer) if spoil else None
        (reply or status(200, json.dumps(answer)))(handler, body)

    return act


def likeliest(token, row, k):
    """The ids of the k likeliest, and of the one that was sent."""
    return dict.fromkeys([token, *np.argsort(-row, kind="stable")[:k].tolist()])


def by_id(token, row, k, spell):
    found = likeliest(token, row, k)
    return {str(i): {"logprob": float(row[i]), "decoded_token": spell(i)} for i in found}


def echoed(ids, logp, k, name):
    places = list(zip(ids[1:], logp[:-1], strict=True))
    tops = [{name(i): float(row[i]) for i in likeliest(token, row, k)} for token, row in places]
    return {
        "tokens": [*map(name, ids), "!"],  # with the token that was written
        "token_logprobs": [None, *(float(row[token]) for token, row in places), -1.0],
        "top_logprobs": [None, *tops, {}],
    }
