import { byId } from "./elements.js";
import { onFrame } from "./frame.js";
import { setText } from "./morph.js";

/** @import { ConverseStream, ModelInfo } from "../client/converse-stream.js" */

const EFFORTS = {
  none: "Off",
  minimal: "Minimal",
  low: "Low",
  medium: "Medium",
  high: "High",
  xhigh: "Very high",
  max: "Maximum",
};
const dollars = new Intl.NumberFormat("en", {
  style: "currency",
  currency: "USD",
  maximumFractionDigits: 4,
  trailingZeroDisplay: "stripIfInteger",
});

/**
 * The pickers of the model and of its thinking effort. The browser remembers the choice of each conversation. A new
 * conversation begins with the last choice. Without the list of models the pickers are hidden, and nothing is chosen.
 */
export class ModelPicker {
  /** @type {Map<string, ModelInfo>} */
  #models = new Map();
  #default = "";
  #isLoading = true;
  /** The open conversation; undefined is the next new one. @type {string | undefined} */
  #id;
  #model = byId("model");
  #effort = byId("effort");

  /** @param {ConverseStream} client */
  constructor(client) {
    client.models().then(
      ({ models, default: name }) => {
        this.#isLoading = false;
        this.#models = new Map(models.map((each) => [each.id, each]));
        this.#default = name;
        onFrame(this.#paint);
      },
      () => (this.#isLoading = false), // the server answers without a choice, too
    );
    this.#model.addEventListener("change", () => this.#choose({ ...this.#choice(), model: this.#model.value }));
    this.#effort.addEventListener("change", () => this.#choose({ ...this.#choice(), effort: this.#effort.value }));
  }

  /** Shows the choice of a conversation. @param {string} [id]  without it, of a new one */
  open(id) {
    this.#id = id;
    onFrame(this.#paint);
  }

  /** The new conversation has this id now, and the choice that is shown. @param {string} id */
  begin(id) {
    choices.set(id, choices.of());
    this.open(id);
  }

  /** @param {string} id */
  forget(id) {
    choices.set(id);
  }

  /** What the client should send with the next message of the open conversation. */
  get turn() {
    const { model, effort } = this.#choice();
    return { model, options: effort && { reasoning: effort } };
  }

  /** The choice as far as the server allows it. @returns {{ model?: string, effort?: string }} */
  #choice() {
    const { model, effort } = choices.of(this.#id);
    if (this.#isLoading) return { model, effort };
    const allowed = this.#models.has(model) ? model : undefined;
    const efforts = this.#models.get(allowed ?? this.#default)?.reasoning?.efforts ?? [];
    return { model: allowed, effort: efforts.includes(effort) ? effort : undefined };
  }

  #choose(choice) {
    choices.set(this.#id, choice);
    choices.set(undefined, choice);
    onFrame(this.#paint);
  }

  #paint = () => {
    byId("models").hidden = this.#models.size === 0;
    if (this.#models.size === 0) return;
    const { model, effort = "" } = this.#choice();
    const shown = this.#models.get(model ?? this.#default);
    const options = [...this.#models.values()].map((each) => new Option(description(each), each.id));
    show(this.#model, options, shown.id, shown.name);
    this.#effort.parentElement.hidden = !shown.reasoning;
    if (shown.reasoning) {
      const { efforts, default: usual } = shown.reasoning;
      const names = efforts.map((each) => new Option(EFFORTS[each] ?? each, each));
      const preset = `Default (${(EFFORTS[usual ?? "none"] ?? usual).toLowerCase()})`;
      this.#effort.parentElement.classList.toggle("chosen", Boolean(effort));
      show(this.#effort, [new Option(preset, ""), ...names], effort, (EFFORTS[effort] ?? "thinking").toLowerCase());
    }
  };
}

/** Shows the options of a picker, and a short text for the chosen one. */
function show(select, options, value, text) {
  select.replaceChildren(...options);
  select.value = value;
  setText(select.parentElement.firstElementChild, text);
}

/** The name and the price of a model. @param {ModelInfo} model */
function description({ name, lifecycle, pricePerMillion: price }) {
  const title = lifecycle === "legacy" ? `${name} (legacy)` : name;
  if (!price) return `${title} · price not known`;
  const from = price.tiers ? "from " : "";
  return `${title} · ${from}${dollars.format(price.input)} / ${dollars.format(price.output)} per million tokens`;
}

/** The choices by conversation, in the browser's storage. Without an id: the last one. */
const choices = {
  /** @returns {{ model?: string, effort?: string }} */
  of: (id = "new") => JSON.parse(localStorage.getItem(`choice ${id}`)) ?? {},
  set(id = "new", choice = {}) {
    const { model, effort } = choice;
    if (model || effort) localStorage.setItem(`choice ${id}`, JSON.stringify({ model, effort }));
    else localStorage.removeItem(`choice ${id}`);
  },
};
