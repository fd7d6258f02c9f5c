"""Any OpenAI-compatible endpoint: clients for chats and for log-probabilities, what they ask."""

from r1jax.endpoint.asking import Usage
from r1jax.endpoint.cache import ReplyCache
from r1jax.endpoint.client import Endpoint
from r1jax.endpoint.config import Connection, EndpointConfig
from r1jax.endpoint.prompts import judge_messages, mark_of, parse_verdict, rewrite_messages
from r1jax.endpoint.reply import ChatRequest, Message, Reply
from r1jax.endpoint.scoring import PromptScorer, Scores, Unscored

__all__ = [
    "ReplyCache",
    "Connection",
    "Endpoint",
    "EndpointConfig",
    "Message",
    "PromptScorer",
    "Reply",
    "ChatRequest",
    "Scores",
    "Unscored",
    "Usage",
    "judge_messages",
    "mark_of",
    "parse_verdict",
    "rewrite_messages",
]
