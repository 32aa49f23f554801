"""Bodies that are async generators. Import this module only if you have one: it imports asyncio."""

import asyncio
from collections.abc import AsyncIterable, Iterator


def iterate(chunks: AsyncIterable[bytes]) -> Iterator[bytes]:
    """Yields the chunks of an async iterable, for the body of a StreamingResponse.

    It runs in an event loop of its own, as one task, which is cancelled if the body is closed early. The loop stands
    still while a chunk is sent.
    """
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        queue: asyncio.Queue[bytes] = asyncio.Queue(1)
        reader = loop.create_task(_read(chunks, queue))
        while (chunk := loop.run_until_complete(_next(queue, reader))) is not None:
            yield chunk


async def _read(chunks: AsyncIterable[bytes], queue: asyncio.Queue[bytes]) -> None:
    async for chunk in chunks:
        await queue.put(chunk)


async def _next(queue: asyncio.Queue[bytes], reader: asyncio.Task[None]) -> bytes | None:
    """The next chunk, or None at the end. Raises the exceptions of the reader."""
    getter = asyncio.ensure_future(queue.get())
    await asyncio.wait({getter, reader}, return_when=asyncio.FIRST_COMPLETED)
    if getter.done():
        return getter.result()
    getter.cancel()
    reader.result()
    return None
