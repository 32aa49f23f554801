// The openai package, asked by the tests: each line in is {call, base, headers, retries, body}, each line out what was heard.
import { createInterface } from "node:readline";
import OpenAI from "openai";

const ask = {
  async models(client, _, heard) {
    for await (const model of client.models.list()) heard.text += `${model.id} `;
  },

  async model(client, { model }, heard) {
    heard.text = (await client.models.retrieve(model)).id;
  },

  async whole(client, body, heard) {
    const { choices, usage } = await client.chat.completions.create(body);
    const { content, reasoning_content, tool_calls } = choices[0].message;
    heard.text = content ?? "";
    heard.reasoning = reasoning_content ?? "";
    heard.calls = (tool_calls ?? []).map(({ id, function: { name, arguments: given } }) => ({ id, name, given }));
    heard.finish = choices[0].finish_reason;
    heard.usage = usage;
  },

  async streamed(client, body, heard) {
    for await (const { choices, usage } of await client.chat.completions.create({ ...body, stream: true })) {
      heard.pieces += 1;
      heard.usage = usage ?? heard.usage;
      for (const { delta, finish_reason } of choices) {
        heard.text += delta.content ?? "";
        heard.reasoning += delta.reasoning_content ?? "";
        for (const { index, id, function: { name, arguments: given } } of delta.tool_calls ?? []) {
          heard.calls[index] = { id, name, given };
        }
        heard.finish = finish_reason ?? heard.finish;
      }
    }
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { call, base, headers, retries, body } = JSON.parse(line);
  const client = new OpenAI({ baseURL: base, apiKey: "none", defaultHeaders: headers, maxRetries: retries });
  const heard = { text: "", reasoning: "", calls: [], pieces: 0 };
  try {
    await ask[call](client, body, heard);
  } catch (error) {
    const { status, code, param, type, message } = error;
    heard.error = { kind: error.constructor.name, status, code, param, type, message };
  }
  console.log(JSON.stringify(heard));
}
