import assert from "node:assert/strict";
import { test } from "node:test";
import { fold } from "../converse-stream.js";

const folded = (...events) => events.reduce((state, event) => fold(state, event), undefined);
const text = (content) => ({ type: "chunk", content });
const reasoning = (content) => ({ type: "reasoning", content });
const citation = { type: "citation", title: "Atlas" };
const call = { type: "tool", id: "1", name: "tides", state: "call", input: {} };
const result = { type: "tool", id: "1", state: "result", output: 3 };

test("adjacent text is joined, and parts keep their order and positions", () => {
  const state = folded(reasoning("Hm"), reasoning("."), text("A🌊"), citation, call, result, text("b"));
  assert.deepEqual(state.parts, [
    { type: "reasoning", text: "Hm.", position: 0 },
    { type: "text", text: "A🌊", position: 3 },
    { ...citation, position: 5 },
    { ...call, position: 6 },
    { ...result, position: 7 },
    { type: "text", text: "b", position: 8 },
  ]);
  assert.equal(state.position, 9);
  assert.equal(state.text, "A🌊b");
  assert.equal(state.reasoning, "Hm.");
  assert.deepEqual(state.citations, [{ title: "Atlas" }]);
  assert.deepEqual(state.tools, [{ id: "1", name: "tides", state: "result", input: {}, output: 3 }]);
});

test("a rollback to any position keeps the parts before it", () => {
  const pieces = [..."Hm"].map(reasoning).concat([..."A🌊"].map(text), citation, call, result, [..."bé"].map(text));
  const whole = folded(...pieces);
  for (let position = 0; position <= pieces.length; position++) {
    const cut = fold(whole, { type: "rollback", position });
    assert.deepEqual(cut, fold(folded(...pieces.slice(0, position)), { type: "rollback", position }));
  }
});

test("a rollback of a resumed answer uses absolute positions", () => {
  const state = fold(undefined, text("xyz"), 103);
  assert.deepEqual(state.parts, [{ type: "text", text: "xyz", position: 100 }]);
  assert.equal(fold(state, { type: "rollback", position: 101 }).text, "x");
  assert.equal(fold(state, { type: "rollback", position: 80 }).text, "");
});

test("an unknown event changes only the position, and states are not mutated", () => {
  const before = folded(text("a"));
  const copy = structuredClone(before);
  assert.deepEqual(fold(before, { type: "weather", wind: 3 }), before);
  assert.equal(fold(before, { type: "weather" }, 2).position, 2);
  fold(fold(before, text("b")), { type: "rollback", position: 0 });
  assert.deepEqual(before, copy);
});
