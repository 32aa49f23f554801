/** Changes elements and keeps their unchanged nodes, and so the focus and the selection. */

/**
 * Changes an element or text so that it equals another one.
 * @param {Element | Text} from  on the page
 * @param {Element | Text} to  its nodes may be moved
 */
export function morph(from, to) {
  if (from.nodeName !== to.nodeName) return from.replaceWith(to);
  if (from instanceof Text) return setData(from, to.data);
  for (const name of from.getAttributeNames()) if (!to.hasAttribute(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  const children = [...to.childNodes];
  while (from.childNodes.length > children.length) from.lastChild.remove();
  children.forEach((child, index) => {
    const old = from.childNodes[index];
    if (old) morph(old, child);
    else from.append(child);
  });
}

/** Sets the text of an element. @param {Element} element @param {string} text */
export function setText(element, text) {
  const [node] = element.childNodes;
  if (node instanceof Text && element.childNodes.length === 1) setData(node, text);
  else element.textContent = text;
}

/** Sets the children of a list. Children that keep their order are not moved. */
export function setChildren(list, elements) {
  const stay = new Set(elements);
  for (const child of [...list.children]) if (!stay.has(child)) child.remove();
  elements.forEach((element, index) => {
    const old = list.children[index];
    if (old !== element) list.insertBefore(element, old ?? null);
  });
}

/** Replaces only the text after the common prefix. @param {Text} node @param {string} text */
function setData(node, text) {
  const { data } = node;
  if (data === text) return;
  let same = 0;
  while (same < data.length && data[same] === text[same]) same++;
  node.replaceData(same, data.length - same, text.slice(same));
}
