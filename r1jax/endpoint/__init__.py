"""Any OpenAI-compatible chat endpoint: the client, its cache, and what it is asked to do."""

from r1jax.endpoint.cache import Cache
from r1jax.endpoint.client import Endpoint, EndpointConfig, Message, Reply, Request, Usage
from r1jax.endpoint.prompts import judge_messages, parse_verdict, rewrite_messages

__all__ = [
    "Cache",
    "Endpoint",
    "EndpointConfig",
    "Message",
    "Reply",
    "Request",
    "Usage",
    "judge_messages",
    "parse_verdict",
    "rewrite_messages",
]
