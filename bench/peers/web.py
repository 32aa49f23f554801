"""The web contender: FastAPI and uvicorn with a synchronous generator, which boto3 needs. No store."""

import json
import os
from collections.abc import Iterator

import boto3
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

MODEL = "us.amazon.nova-lite-v1:0"

app = FastAPI()
client = boto3.client("bedrock-runtime")


class Message(BaseModel):
    text: str


class Chat(BaseModel):
    message: Message


def chat(body: Chat) -> StreamingResponse:
    return StreamingResponse(events(body.message.text), media_type="text/event-stream")


def events(text: str) -> Iterator[str]:
    answer = client.converse_stream(modelId=MODEL, messages=[{"role": "user", "content": [{"text": text}]}])
    for each in answer["stream"]:
        if "contentBlockDelta" in each:
            data = {"type": "chunk", "content": each["contentBlockDelta"]["delta"]["text"]}
            yield f"data: {json.dumps(data)}\n\n"
    yield 'data: {"type": "complete"}\n\n'


app.add_api_route("/chat", chat, methods=["POST"])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", access_log=False)
