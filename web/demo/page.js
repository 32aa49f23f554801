import { Chat, Refused } from "./chat.js";

const $ = (id) => document.getElementById(id);
const config = await load();
const STAGES = {
  memory: "Answering without memory",
  retry: "The model is busy: trying again",
  reconnect: "Reconnecting",
};

let chat = new Chat(config, sessionStorage.getItem("conversation") ?? undefined);
let reading = false;

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

$("stop").addEventListener("click", () => {
  status("Stopping");
  chat.stop();
});

$("new").addEventListener("click", () => {
  sessionStorage.removeItem("conversation");
  chat = new Chat(config);
  $("messages").replaceChildren();
  $("welcome").hidden = false;
  busy(false);
  status("Ready");
  $("text").focus();
});

async function send(text) {
  if (reading || !text.trim()) return;
  sessionStorage.setItem("conversation", chat.id);
  $("text").value = "";
  message("user").text(text);
  status("Sending");
  await read(chat.send(text), text);
}

/** After a reload: what was said, and what is being said. */
async function restore() {
  for (const { role, parts, status } of await chat.messages()) {
    const shown = message(role);
    for (const part of parts) shown.part(part);
    if (role === "assistant") shown.end(status === "complete" ? "" : "This answer is not whole.");
  }
  await read(chat.resume());
}

async function read(events, text = "") {
  const mine = chat;
  let answer;
  let started = false;
  busy(true);
  try {
    for await (const event of events) {
      if (chat !== mine) return; // a new chat was begun; the server goes on
      if (event.stage === "reconnect" && !answer) {
        status(STAGES.reconnect);
        continue;
      }
      answer ??= message("assistant");
      started ||= event.type === "start";
      show(event, answer);
    }
  } catch (error) {
    const lost = answer ? "The connection is lost. The answer is still finished and stored." : "The message was not sent.";
    answer ??= message("assistant");
    answer.end(error instanceof Refused ? error.message : lost, true);
    status(error instanceof Refused ? "Refused" : "Not connected");
    if (!started && text && !$("text").value) $("text").value = text; // to send again
  } finally {
    if (chat === mine) busy(false);
  }
}

function show(event, answer) {
  switch (event.type) {
    case "start":
      return status(`${event.model} is thinking`);
    case "progress":
      return status(STAGES[event.stage] ?? event.stage);
    case "chunk":
      status("Answering");
      return answer.text(event.content);
    case "reasoning":
      status("Reasoning");
      return answer.reasoning(event.content);
    case "citation":
      return answer.citation(event);
    case "rollback":
      return answer.cut(event.position);
    case "complete":
      status(event.finishReason === "cancelled" ? "Stopped" : summary(event));
      return answer.end({ cancelled: "You stopped here.", deadline: "Time was up.", lost: "The rest was lost." }[event.finishReason] ?? "");
    case "error":
      status("Failed");
      return answer.end(event.message, true);
  }
}

/** One message on the page. Text gathers between frames, so that the page is written once per animation frame. */
function message(role) {
  const item = $("message").content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(`.${name}`);
  const waiting = { text: "", reasoning: "" };
  let frame;
  $("welcome").hidden = true;
  item.classList.add(role);
  part("who").textContent = role === "user" ? "You:" : "Assistant:";
  part("text").setAttribute("aria-busy", String(role === "assistant")); // read out when it is whole, not by token
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
    part(stored) {
      if (stored.type === "citation") this.citation(stored);
      else this[stored.type](stored.text);
    },
    /** The server lost what came behind this position: text and reasoning count, in code points. */
    cut(position) {
      write();
      const reasoned = [...part("reasoning").lastElementChild.textContent].length;
      part("text").textContent = [...part("text").textContent].slice(0, Math.max(0, position - reasoned)).join("");
    },
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
      part("text").setAttribute("aria-busy", "false");
      part("note").textContent = note;
      part("note").hidden = !note;
      part("note").classList.toggle("failed", failed);
      follow(item, true);
    },
  };
}

async function load() {
  try {
    return await (await fetch("config.json")).json();
  } catch {
    return { functionUrl: location.origin, apiUrl: location.origin };
  }
}

function summary({ usage, metrics }) {
  if (!metrics.durationMs) return `${usage.outputTokens} tokens`;
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
  const first = metrics.firstTokenMs === undefined ? "" : `, first after ${seconds(metrics.firstTokenMs)}`;
  return `${usage.outputTokens} tokens in ${seconds(metrics.durationMs)}${first}`;
}

function status(text) {
  if ($("status").textContent !== text) $("status").textContent = text;
}

function busy(is) {
  reading = is;
  $("send").hidden = is;
  $("stop").hidden = !is;
  if (document.activeElement === document.body) $("text").focus(); // the button that had it is gone
}

function atBottom() {
  const main = document.querySelector("main");
  return main.scrollHeight - main.scrollTop - main.clientHeight < 40;
}

function follow(item, down) {
  if (down) item.scrollIntoView({ block: "end" });
}

if (sessionStorage.getItem("conversation")) await restore();
