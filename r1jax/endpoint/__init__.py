"""Any OpenAI-compatible chat endpoint: the client, its cache, and what it is asked to do."""

from r1jax.endpoint.cache import ReplyCache
from r1jax.endpoint.client import Endpoint, Usage
from r1jax.endpoint.config import EndpointConfig
from r1jax.endpoint.prompts import judge_messages, mark_of, parse_verdict, rewrite_messages
from r1jax.endpoint.reply import ChatRequest, Message, Reply

__all__ = [
    "ReplyCache",
    "Endpoint",
    "EndpointConfig",
    "Message",
    "Reply",
    "ChatRequest",
    "Usage",
    "judge_messages",
    "mark_of",
    "parse_verdict",
    "rewrite_messages",
]
