/**
 * Runs a write in `root`. If it replaces nodes at the ends of the selection (as when the items of a list become
 * paragraphs), the same text is selected again.
 * @param {Element} root
 * @param {() => void} write
 */
export function keepingSelection(root, write) {
  const selection = getSelection();
  if (selection.isCollapsed || !selection.getRangeAt(0).intersectsNode(root)) return write();
  const ends = () => [
    [selection.anchorNode, selection.anchorOffset],
    [selection.focusNode, selection.focusOffset],
  ];
  const before = ends();
  const isInside = before.map(([node]) => root.contains(node));
  const offsets = before.map((end) => offsetOf(root, ...end));
  const start = Math.min(...offsets);
  const selected = textOf(root).slice(start, Math.max(...offsets));
  write();
  if (ends().every(([node, offset], index) => node === before[index][0] && offset === before[index][1])) return;
  const found = nearest(textOf(root), selected, start); // Markdown characters before it may have become elements
  if (found === undefined) return;
  const moved = offsets.map((offset) => positionOf(root, offset - start + found, offset === start));
  selection.setBaseAndExtent(...before.map((end, index) => (isInside[index] ? moved[index] : end)).flat());
}

/** The text nodes that are not blank. Blank ones are ignored because line ends between elements vary. */
function* textNodes(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (walker.currentNode.data.trim()) yield walker.currentNode;
}

function textOf(root) {
  return [...textNodes(root)].map((node) => node.data).join("");
}

/** Converts a DOM position to an offset in the text of `root`. A position before `root` is 0. */
function offsetOf(root, node, offset) {
  const before = document.createRange();
  before.setStart(root, 0);
  before.setEnd(node, offset);
  let length = 0;
  for (const text of textNodes(root)) {
    if (text === node) return length + offset;
    if (!before.intersectsNode(text)) break;
    length += text.length;
  }
  return length;
}

/** Converts an offset in the text of `root` to a DOM position. Between two nodes, a start is in the second one. */
function positionOf(root, offset, isStart) {
  let rest = offset;
  for (const text of textNodes(root)) {
    if (rest < text.length + (isStart ? 0 : 1)) return [text, rest];
    rest -= text.length;
  }
  return [root, root.childNodes.length];
}

/** The index of `part` in `text` that is nearest to `place`. */
function nearest(text, part, place) {
  return [text.lastIndexOf(part, place), text.indexOf(part, place)]
    .filter((at) => at >= 0)
    .sort((a, b) => Math.abs(a - place) - Math.abs(b - place))[0];
}
