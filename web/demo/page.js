import { events } from "./events.js";

const $ = (id) => document.getElementById(id);
const config = await (await fetch("config.json")).json();

let conversation; // the server's id, once a first message was sent
let reading; // the AbortController of the answer that is being read

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send($("text").value);
});

$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});

$("suggestions").addEventListener("click", (event) => {
  if (event.target.matches("button")) send(event.target.textContent);
});

$("stop").addEventListener("click", () => reading?.abort());

$("new").addEventListener("click", () => {
  reading?.abort();
  conversation = undefined;
  $("messages").replaceChildren();
  $("welcome").hidden = false;
  status("Ready");
  $("text").focus();
});

async function send(text) {
  if (reading || !text.trim()) return;
  $("welcome").hidden = true;
  $("text").value = "";
  message("user").text(text);
  const answer = message("assistant");
  reading = new AbortController();
  busy(true);
  try {
    await read(text, answer, reading.signal);
  } catch (error) {
    if (error.name !== "AbortError") answer.end("The connection was lost. The answer is still finished and stored.", true);
    else answer.end("You stopped reading. The answer is still finished and stored.");
    status(error.name === "AbortError" ? "Stopped" : "Not connected");
  } finally {
    reading = undefined;
    busy(false);
  }
}

async function read(text, answer, signal) {
  status("Sending");
  const response = await fetch(new URL("chat", config.functionUrl), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ message: { text }, ...(conversation && { conversationId: conversation }) }),
    signal,
  });
  if (!response.ok) {
    const { error } = await response.json().catch(() => ({ error: undefined }));
    status("Refused");
    return answer.end(error?.message ?? `The server answered ${response.status}.`, true);
  }
  for await (const event of events(response.body)) {
    switch (event.type) {
      case "start":
        conversation = event.conversationId;
        status(`${event.model} is thinking`);
        break;
      case "progress":
        status({ memory: "Answering without memory", retry: "The model is busy: trying again" }[event.stage] ?? event.stage);
        break;
      case "chunk":
        status("Answering");
        answer.text(event.content);
        break;
      case "reasoning":
        status("Reasoning");
        answer.reasoning(event.content);
        break;
      case "citation":
        answer.citation(event);
        break;
      case "complete":
        status(summary(event));
        return answer.end(event.finishReason === "deadline" ? "Time was up; what came is stored." : "");
      case "error":
        status("Failed");
        return answer.end(event.message, true);
    }
  }
  throw new Error("the stream ended without saying how");
}

/** One message on the page. Text gathers between frames, so that the page is written once per animation frame. */
function message(role) {
  const item = $("message").content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(`.${name}`);
  const waiting = { text: "", reasoning: "" };
  let frame;
  item.classList.add(role);
  item.classList.toggle("speaking", role === "assistant");
  $("messages").append(item);
  follow(item, true);

  function write() {
    frame = undefined;
    const down = atBottom();
    part("text").append(waiting.text);
    if (waiting.reasoning) {
      part("reasoning").hidden = false;
      part("reasoning").lastElementChild.append(waiting.reasoning);
    }
    waiting.text = waiting.reasoning = "";
    follow(item, down);
  }

  const take = (kind) => (content) => {
    waiting[kind] += content;
    frame ??= requestAnimationFrame(write);
  };

  return {
    text: take("text"),
    reasoning: take("reasoning"),
    citation({ title, url, document: name }) {
      const entry = document.createElement("li");
      const link = url && /^https?:/.test(url) ? document.createElement("a") : entry;
      if (link !== entry) {
        link.href = url;
        link.rel = "noreferrer";
        entry.append(link);
      }
      link.textContent = title ?? name ?? url;
      part("citations").append(entry);
      part("citations").hidden = false;
    },
    end(note, failed = false) {
      if (frame) cancelAnimationFrame(frame);
      write();
      item.classList.remove("speaking");
      part("note").textContent = note;
      part("note").hidden = !note;
      part("note").classList.toggle("failed", failed);
      follow(item, true);
    },
  };
}

function summary({ usage, metrics }) {
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
  const first = metrics.firstTokenMs === undefined ? "" : `, first after ${seconds(metrics.firstTokenMs)}`;
  return `${usage.outputTokens} tokens in ${seconds(metrics.durationMs)}${first}`;
}

function status(text) {
  if ($("status").textContent !== text) $("status").textContent = text;
}

function busy(is) {
  $("send").hidden = is;
  $("stop").hidden = !is;
  (is ? $("stop") : $("text")).focus();
}

function atBottom() {
  const main = document.querySelector("main");
  return main.scrollHeight - main.scrollTop - main.clientHeight < 40;
}

function follow(item, down) {
  if (down) item.scrollIntoView({ block: "end" });
}
