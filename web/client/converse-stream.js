export { Answer } from "./answer.js";
export { ConverseStream } from "./client.js";
export { ConverseError } from "./error.js";
export { features } from "./features.js";
export { fold } from "./fold.js";
