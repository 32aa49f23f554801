// Runs the openai package for the tests. Each input line is {call, base, headers, retries, body}, each output line a result.
import { createInterface } from "node:readline";
import OpenAI from "openai";

const callers = {
  async models(client, _, result) {
    for await (const model of client.models.list()) result.text += `${model.id} `;
  },

  async model(client, { model }, result) {
    result.text = (await client.models.retrieve(model)).id;
  },

  async whole(client, body, result) {
    const { choices, usage } = await client.chat.completions.create(body);
    const { content, reasoning_content, reasoning_details, tool_calls } = choices[0].message;
    result.text = content ?? "";
    result.reasoning = reasoning_content ?? "";
    result.details = reasoning_details ?? [];
    result.calls = (tool_calls ?? []).map(({ id, function: { name, arguments: json } }) => ({ id, name, arguments: json }));
    result.finish = choices[0].finish_reason;
    result.usage = usage;
  },

  async streamed(client, body, result) {
    for await (const { choices, usage } of await client.chat.completions.create({ ...body, stream: true })) {
      result.chunk_count += 1;
      result.usage = usage ?? result.usage;
      for (const { delta, finish_reason } of choices) {
        result.text += delta.content ?? "";
        result.reasoning += delta.reasoning_content ?? "";
        result.details.push(...(delta.reasoning_details ?? []));
        for (const { index, id, function: { name, arguments: json } } of delta.tool_calls ?? []) {
          result.calls[index] = { id, name, arguments: json };
        }
        result.finish = finish_reason ?? result.finish;
      }
    }
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { call, base, headers, retries, body } = JSON.parse(line);
  const client = new OpenAI({ baseURL: base, apiKey: "none", defaultHeaders: headers, maxRetries: retries });
  const result = { text: "", reasoning: "", details: [], calls: [], chunk_count: 0 };
  try {
    await callers[call](client, body, result);
  } catch (error) {
    const { status, code, param, type, message } = error;
    result.error = { kind: error.constructor.name, status, code, param, type, message };
  }
  console.log(JSON.stringify(result));
}
