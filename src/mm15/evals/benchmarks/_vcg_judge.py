"""What the judge of VCGBench is asked, word for word as Video-ChatGPT asks it (arXiv 2306.05424; lmms-eval)."""

from __future__ import annotations

from dataclasses import dataclass

from mm15.evals.judge import Messages

GENERIC = ("correctness", "detail", "context")
ASPECTS = (*GENERIC, "temporal", "consistency")


@dataclass(frozen=True, slots=True)
class Aspect:
    """``purpose`` and ``task`` open the judge's instructions, ``rules`` are their lines, ``named`` is the score."""

    purpose: str
    task: str
    rules: tuple[str, ...]
    named: str
    level: str


_PAIRS = "evaluating the {} of generative outputs for video-based question-answer pairs. "
_COMPARE = "Your task is to compare the predicted answer with the correct answer and determine "
_SYNONYMS = "Consider synonyms or paraphrases as valid matches."

_SINGLE = {
    "correctness": Aspect(
        _PAIRS.format("factual accuracy"),
        _COMPARE + "if they are factually consistent.",
        (
            "Focus on the factual consistency between the predicted answer and the correct answer. The predicted "
            "answer should not contain any misinterpretations or misinformation.",
            "The predicted answer must be factually accurate and align with the video content.",
            _SYNONYMS,
            "Evaluate the factual accuracy of the prediction compared to the answer.",
        ),
        "the factual accuracy score",
        "factual consistency",
    ),
    "detail": Aspect(
        _PAIRS.format("detail orientation"),
        _COMPARE + "its level of detail, considering both completeness and specificity.",
        (
            "Check if the predicted answer covers all major points from the video. The response should not leave out "
            "any key aspects.",
            "Evaluate whether the predicted answer includes specific details rather than just generic points. It "
            "should provide comprehensive information that is tied to specific elements of the video.",
            _SYNONYMS,
            "Provide a single evaluation score that reflects the level of detail orientation of the prediction, "
            "considering both completeness and specificity.",
        ),
        "the detail orientation score",
        "detail orientation",
    ),
    "context": Aspect(
        _PAIRS.format("contextual understanding"),
        _COMPARE + "if the generated response aligns with the overall context of the video content.",
        (
            "Evaluate whether the predicted answer aligns with the overall context of the video content. It should not "
            "provide information that is out of context or misaligned.",
            "The predicted answer must capture the main themes and sentiments of the video.",
            _SYNONYMS,
            "Provide your evaluation of the contextual understanding of the prediction compared to the answer.",
        ),
        "contextual understanding score",  # without "the", unlike the others
        "contextual understanding",
    ),
    "temporal": Aspect(
        _PAIRS.format("temporal understanding"),
        _COMPARE + "if they correctly reflect the temporal sequence of events in the video content.",
        (
            "Focus on the temporal consistency between the predicted answer and the correct answer. The predicted "
            "answer should correctly reflect the sequence of events or details as they are presented in the video "
            "content.",
            "Consider synonyms or paraphrases as valid matches, but only if the temporal order is maintained.",
            "Evaluate the temporal accuracy of the prediction compared to the answer.",
        ),
        "the temporal accuracy score",
        "temporal consistency",
    ),
}
_BOTH = Aspect(
    "evaluating the consistency of generative outputs for similar video-based question-answer pairs. You will be given "
    "two very similar questions, a common answer common to both the questions and predicted answers for the two "
    "questions .",
    "Your task is to compare the predicted answers for two very similar question, with a common correct answer and "
    "determine if they are consistent.",
    (
        "Focus on the consistency between the two predicted answers and the correct answer. Both predicted answers "
        "should correspond to the correct answer and to each other, and should not contain any contradictions or "
        "significant differences in the conveyed information.",
        "Both predicted answers must be consistent with each other and the correct answer, in terms of the information "
        "they provide about the video content.",
        "Consider synonyms or paraphrases as valid matches, but only if they maintain the consistency in the conveyed "
        "information.",
        "Evaluate the consistency of the two predicted answers compared to the correct answer.",
    ),
    "the consistency score",
    "consistency",
)


def told_about(aspect: str, asked: str, right: str, answer: str) -> Messages:
    """The judge's turns about one answer and one of ``correctness``, ``detail``, ``context``, ``temporal``."""
    pair = f"Question: {asked}\nCorrect Answer: {right}\nPredicted Answer: {answer}\n\n"
    return _messages(_SINGLE[aspect], pair)


def told_about_two(first: str, second: str, right: str, answer: str, other: str) -> Messages:
    """The judge's turns about the consistency of the answers to two questions."""
    pair = (
        f"Question 1: {first}\nQuestion 2: {second}\nCorrect Answer: {right}\n"
        f"Predicted Answer to Question 1: {answer}\nPredicted Answer to Question 2: {other}\n\n"
    )
    return _messages(_BOTH, pair)


def _messages(aspect: Aspect, pair: str) -> Messages:
    name = aspect.named.removeprefix("the ")
    rules = "\n".join(f"- {rule}" for rule in aspect.rules)
    system = (
        f"You are an intelligent chatbot designed for {aspect.purpose}{aspect.task} Here's how you can accomplish the "
        f"task:------##INSTRUCTIONS: {rules}"
    )
    asked = (
        f"Please evaluate the following video-based question-answer pair:\n\n{pair}"
        f"Provide your evaluation only as a {name} where the {name} is an integer value between 0 and 5, with 5 "
        f"indicating the highest level of {aspect.level}. Please generate the response in the form of a Python "
        f"dictionary string with keys 'score', where its value is {aspect.named} in INTEGER, not STRING.DO NOT PROVIDE "
        "ANY OTHER OUTPUT TEXT OR EXPLANATION. Only provide the Python dictionary string. For example, your response "
        "should look like this: {''score': 4.8}."
    )
    return ({"role": "system", "content": system}, {"role": "user", "content": asked})
