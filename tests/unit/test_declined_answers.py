"""Answers in which the model declines are found in several languages, and titles are not taken for them."""

import pytest

from converse_stream.tasks.declined_answers import is_declined

DECLINED = (
    "I'm sorry, but I can't assist with that request.",
    "I\u2019m really sorry, I cannot help with this.",
    "Sorry, I can't do that.",
    "Sorry, but I am not able to provide a summary.",
    "I cannot summarise this conversation because it contains harmful content.",
    "I can't create a title for this message.",
    "I am unable to generate a title.",
    "I'm not able to provide that.",
    "Unfortunately, I can't help with that.",
    "I apologize, but I can't continue this conversation.",
    "My apologies, but this is not something that I can do.",
    "As an AI language model, I cannot do this.",
    "I must respectfully decline.",
    "I don't have enough context to write a title.",
    "There is not enough information to summarize.",
    "Please provide the conversation that you would like me to summarize.",
    "**I'm sorry**, but I can't help.",
    "Es tut mir leid, aber das kann ich nicht zusammenfassen.",
    "Leider kann ich dabei nicht helfen.",
    "Ich kann diese Anfrage nicht beantworten.",
    "Het spijt me, maar ik kan dit niet samenvatten.",
    "Lo siento, no puedo ayudarte con eso.",
    "No puedo resumir esta conversación.",
    "Je suis désolé, mais je ne peux pas vous aider.",
    "Je ne peux pas résumer cette conversation.",
    "Desculpe, mas não posso ajudar com isso.",
    "Mi dispiace, ma non posso aiutarti.",
    "Przepraszam, ale nie mogę w tym pomóc.",
    "Простите, но я не могу этого сделать.",
    "Извините, но я не могу помочь.",
    "Üzgünüm, bunu yapamam.",
    "عذراً، لا أستطيع المساعدة في ذلك.",
    "抱歉,我无法提供帮助。",
    "很抱歉。我不能总结这段对话。",
    "申し訳ありませんが、お手伝いできません。",
    "죄송합니다. 도와드릴 수 없습니다.",
)
TITLES = (
    "",
    "Sorry for the delay",
    "Sorry, wrong number",
    "Apology letter to a customer",
    "I can't sleep at night",
    "I cannot log in to my account",
    "I'm sorry for your loss: texts for cards",
    "As an artist in Paris",
    "Unfortunately Yours, the novel",
    "No puedo dormir",
    "Ich kann nicht einschlafen",
    "Je ne peux pas dormir",
    "Désolé: how to apologise in French",
    "对不起的用法",
    "すみません and ごめんなさい compared",
    "Lamento boliviano lyrics",
    "The user asked about tides and apologised for the delay.",
    "Please provide: polite forms",
    "Don't have a cow",
)


@pytest.mark.parametrize("answer", DECLINED)
def test_declined_answer_is_found(answer: str) -> None:
    assert is_declined(answer)


@pytest.mark.parametrize("answer", TITLES)
def test_title_or_summary_is_not_taken_for_a_declined_answer(answer: str) -> None:
    assert not is_declined(answer)
