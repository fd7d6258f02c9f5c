"""A model in llama.cpp itself, through xllamacpp: one thread, float32 cache, no device."""

from __future__ import annotations

import contextlib
import json
import urllib.request

import xllamacpp


@contextlib.contextmanager
def serving(path, context=512):
    """A server of a GGUF file."""
    said = xllamacpp.CommonParams()
    said.model.path, said.n_ctx, said.n_gpu_layers = str(path), context, 0
    # Two threads on a busy machine wait for each other two hundred times longer.
    said.cpuparams.n_threads = said.cpuparams_batch.n_threads = said.n_threads_http = 1
    said.n_parallel, said.warmup, said.verbosity = 1, False, 0
    said.cache_type_k = said.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    said.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(said)
    yield server
    del server


def best_next(server, ids, plain):
    """(the best token after ids, its log-probability); `plain` is a token that is whole text.

    The server shows the probabilities of what it drew, unless that ends the text or is half a
    letter: so it has to draw `plain`. Those that it shows are of the logits before that.
    """
    asked = dict(n_predict=1, n_probs=1, temperature=0.0, logit_bias=[[plain, 1e4]])
    found = server.handle_completions({"prompt": [int(i) for i in ids], **asked})
    best = found["choices"][0]["logprobs"]["content"][0]["top_logprobs"][0]
    return best["id"], best["logprob"]


def tokenized(server, text):
    """Token ids of a text, without what is put around it."""
    body = json.dumps({"content": text, "add_special": False, "parse_special": True}).encode()
    request = urllib.request.Request(
        server.listening_address + "/tokenize", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())["tokens"]
