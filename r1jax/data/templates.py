"""Prompt templates: how a question becomes the text the policy continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from r1jax.errors import UserError
from r1jax.problem import Problem


@dataclass(frozen=True)
class Template:
    """Text around a question; `text` holds `{question}` once.

    `prefill` follows it: the beginning of the answer, written for the model, which rewards see as
    part of the completion. With `chat` the text is the user's message, and the tokenizer's own chat
    template goes around it.
    """

    name: str
    text: str
    prefill: str = ""
    chat: bool = False

    def fill(self, question: str) -> str:
        """The text for `question`, without prefill. Its own braces are left alone."""
        return self.text.replace("{question}", question)


# Table 1 of DeepSeek-R1 (2501.12948) byte for byte: only its word `prompt` is replaced, the full
# stop after it is the paper's, and nothing is prefilled after "Assistant:".
R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves "
    "it. The assistant first thinks about the reasoning process in the mind and then provides the "
    "user with the answer. The reasoning process and answer are enclosed within <think> </think> "
    "and <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> "
    "<answer> answer here </answer>. User: {question}. Assistant:"
)

# Jiayi-Pan/TinyZero 95df88f, examples/data_preprocess/countdown.py (base) and multiply.py. What the
# question asks for is part of the question (r1jax.data.tinyzero.tasks).
TINYZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves "
    "it. The assistant first thinks about the reasoning process in the mind and then provides the "
    "user with the answer.\n"
    "User: {question}\n"
    "Assistant: Let me solve this step by step.\n"
)
TINYZERO_MULTIPLY = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves "
    "it. The assistant first thinks about the reasoning process in the mind and then provides the "
    "user with the answer. The reasoning process and answer are enclosed within <think> </think> "
    "and <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> "
    "<answer> RESULT_NUMBER </answer>. User: {question} Assistant: Ok let me think about it.\n"
)

BOXED = "Please reason step by step, and put your final answer within \\boxed{}."

TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        Template("r1_zero", R1_ZERO),
        Template(
            "tags",
            "Think in <think> </think>, then answer in <answer> </answer>.\n"
            "User: {question}\nAssistant:",
        ),
        Template("mini", "User: {question}\nAssistant:"),
        Template("qa", "Question: {question}\nAnswer:"),
        Template("plain", "{question}\n"),
        Template("tinyzero", TINYZERO, prefill="<think>"),
        Template("tinyzero_multiply", TINYZERO_MULTIPLY, prefill="<think>"),
        # hkust-nlp/simpleRL-reason cf1c785, examples/simplelr_math_eval/utils.py: qwen-boxed is
        # Zoo's, abel its plainer one for weak bases, qwen25-math-cot Qwen2.5-Math's own (v0).
        Template(
            "qwen_boxed",
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\n{question}\n" + BOXED + "<|im_end|>\n<|im_start|>assistant\n",
        ),
        Template("abel", "Question:\n{question}\nAnswer:\nLet's think step by step.\n"),
        Template(
            "qwen_math_cot",
            "<|im_start|>system\n" + BOXED + "<|im_end|>\n"
            "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n",
        ),
        Template("chat", "{question}", chat=True),
        # DeepSeek-R1's suffix for mathematics (paper, evaluation set-up).
        Template("chat_boxed", "{question}\n" + BOXED, chat=True),
    )
}


def check_template(name: str, flag: str) -> None:
    """Raises UserError, naming `flag`, where there is no template of this name."""
    if name not in TEMPLATES:
        raise UserError(f"{flag} {name}: no such template; choose from {', '.join(TEMPLATES)}")


def chat_text(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], where: str, answer: bool = True
) -> str:
    """What the tokenizer's chat template makes of messages, to where the next `answer` begins.

    Raises UserError naming `where` in one line, whatever the template raises.
    """
    try:
        return tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=answer
        )
    except Exception as error:  # a template is a program that came with the model
        kind = "" if type(error) is TemplateError else f"{type(error).__name__}: "
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{where}: the chat template refuses it ({kind}{reason}; {tokenizer.name_or_path})"
        ) from error


def render(template: Template, problem: Problem) -> str:
    """The prompt text of `problem` under `template`, prefill included; for chat the message."""
    return template.fill(problem.question) + template.prefill
