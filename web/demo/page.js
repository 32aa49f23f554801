/** The page: the client, the open conversation and the other components. `#c=<id>` is the open conversation. */

import { announce } from "./announcer.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { Conversations, UNTITLED } from "./conversations.js";
import { prepareDialogs } from "./dialogs.js";
import { byId } from "./elements.js";
import { onFrame } from "./frame.js";
import { BedrockKey } from "./key.js";
import { Memory } from "./memory.js";
import { ModelPicker } from "./models.js";
import { setText } from "./morph.js";
import { Scroller } from "./scroller.js";
import { Status } from "./status.js";
import { ConverseStream } from "./vendor/converse-stream.js";

const TITLED = [1_000, 2_000, 4_000]; // ms

const { functionUrl, apiUrl, tokenUrl } = await fetch(new URL("config.json", import.meta.url))
  .then((response) => response.json())
  .catch((error) => {
    byId("connection").textContent = "Not connected";
    failed(new Error("The page's settings could not be read. Please load it again."));
    throw error;
  });
const client = new ConverseStream({
  url: new URL(functionUrl, location.href).href,
  apiUrl: new URL(apiUrl, location.href).href,
  token: tokenUrl && token,
});
const tabs = new BroadcastChannel("conversations");
const scroller = new Scroller();
const status = new Status();
const composer = new Composer({ send, stop: () => conversation?.stop().catch(failed) });
const picker = new ModelPicker(client);
const key = new BedrockKey();
const conversations = new Conversations(client, { renamed, deleted, failed });

const listed = conversations.refresh().catch(failed);

/** @type {Conversation | undefined} */
let conversation;

const page = {
  scroller,
  busy(is) {
    composer.busy(is);
    if (is) byId("problem").hidden = true;
    else status.rest();
  },
  turn: () => ({ ...picker.turn, bedrockKey: key.value }),
  event: (event) => status.show(event),
  begun(id) {
    conversations.touch(id);
    if (!conversations.title(id)) conversations.update(id).then(heading, failed); // its first words
    tabs.postMessage({ id, begun: true });
  },
  failed,
  loaded: (id, lastQuestion) => composer.recover(id, lastQuestion),
  arrived: (id) => composer.arrived(id),
  unanswered: (id, text, retryable) => composer.failed(id, text, retryable),
  opened: entitle,
};

function send(text) {
  if (!conversation) {
    conversation = new Conversation(client, crypto.randomUUID(), page);
    composer.move(undefined, conversation.id);
    picker.begin(conversation.id);
    history.pushState(null, "", `#c=${conversation.id}`);
    welcome(false);
  }
  composer.sending(conversation.id, text);
  conversation.send(text).catch(failed);
}

/** Gets a token from the issuer of the local stack. In a deployment, replace this by your login. */
async function token() {
  const response = await fetch(tokenUrl, { method: "POST", body: '{"user":"local"}' });
  return (await response.json()).token;
}

/** Opens the conversation of the address, or a new one. */
async function open() {
  const [, id] = /^#c=([\w-]{8,64})$/.exec(location.hash) ?? [];
  if (id && id === conversation?.id) return;
  conversation?.leave();
  composer.busy(false);
  composer.open(id);
  picker.open(id);
  status.rest();
  conversation = id ? new Conversation(client, id, page) : undefined;
  if (!id) byId("messages").replaceChildren();
  welcome(!id);
  byId("sidebar").hidePopover();
  byId("problem").hidden = true;
  if (!id) return;
  listed.then(() => conversations.find(id)).then(heading, (error) => error.status === 404 || failed(error));
  await conversation.open().catch((error) => (error.status === 404 ? gone(id) : failed(error)));
}

/** The conversation does not exist: nothing was sent, or it has been deleted. */
function gone(id) {
  conversations.forget(id);
  picker.forget(id);
  if (id !== conversation?.id) return composer.forget(id);
  composer.move(id, undefined);
  location.hash = "";
}

function welcome(is) {
  byId("welcome").hidden = !is;
  conversations.mark(conversation?.id);
  heading();
}

function heading() {
  const title = conversation ? (conversations.title(conversation.id) ?? UNTITLED) : "New chat";
  onFrame(() => {
    setText(byId("title"), title);
    byId("rename-open").hidden = !conversation;
    document.title = conversation ? `${title} · Converse Stream` : "Converse Stream";
  });
}

/** Reads the generated title, which the server sets some seconds after the first answer, if learning is enabled. */
async function entitle(id) {
  for (const wait of TITLED) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    const titled = await conversations.update(id).catch(() => false); // the title is optional
    if (titled) return renamed(id);
  }
}

function renamed(id) {
  heading();
  tabs.postMessage({ id });
}

function deleted(id) {
  tabs.postMessage({ id, deleted: true });
  composer.forget(id);
  picker.forget(id);
  if (id === conversation?.id) location.hash = "";
}

/** Shows an error that does not belong to an answer. @param {Error} error  its message is for users */
function failed(error) {
  announce(error.message);
  onFrame(() => {
    byId("problem").hidden = false;
    byId("problem").firstElementChild.textContent = error.message;
  });
}

byId("problem").lastElementChild.addEventListener("click", () => (byId("problem").hidden = true));
addEventListener("hashchange", open);
tabs.addEventListener("message", async ({ data }) => {
  if (data.deleted) return gone(data.id);
  await conversations.refresh().catch(failed);
  heading();
  if (data.begun && data.id === conversation?.id && !conversation.busy) await conversation.open().catch(failed);
});
byId("new").addEventListener("click", () => {
  if (location.hash) location.hash = "";
  byId("sidebar").hidePopover();
  composer.focus();
});
byId("rename-open").addEventListener("click", () => conversations.rename(conversation.id).catch(failed));
byId("suggestions").addEventListener("click", (event) => {
  if (!event.target.matches("button")) return;
  send(event.target.textContent);
  composer.focus(); // the focused button is hidden now
});

prepareDialogs();
new Memory(client);
composer.focus();
await open();
