// What a message holds, and the order of its boxes: which one comes after another, and as which step of the whole model.

/** @import { Themes } from "../shared.js" */

/**
 * @typedef {object} Colours
 * @property {string} attention
 * @property {string} query
 * @property {string} key
 * @property {string} value
 * @property {string} reference
 * @property {string} text
 * @property {string} background
 * @property {string} secondary
 * @property {string} blocked
 * @property {string} border
 * @property {string[]} sequential
 * @property {string[]} diverging
 */

/**
 * Where a box's numbers lie among the bytes of the message.
 * @typedef {{ at: number, count: number, rows: number, columns: number }} Picture
 */

/**
 * A box of the picture; `forward_map.MapBox` describes each field.
 * @typedef {object} Box
 * @property {string} name
 * @property {number | null} layer
 * @property {"input" | "stream" | "attention" | "feedforward" | "output"} place
 * @property {string} column
 * @property {string} title
 * @property {string} say
 * @property {string} shape
 * @property {string} stats
 * @property {string} colour
 * @property {boolean} isMap
 * @property {Picture | null} picture
 */

/** @typedef {{ first: number, last: number, picture: Picture }} Slab Blocks that are drawn as one, from first to last. */

/**
 * What Python packs in `forward_map.message`, which describes each field.
 * @typedef {object} Header
 * @property {Box[]} boxes
 * @property {Slab[]} slabs
 * @property {number} layers
 * @property {number} layer
 * @property {string} opened
 * @property {number} number
 * @property {number} total
 * @property {string[]} tokens
 * @property {number[]} ids
 * @property {number} position
 * @property {[token: string, share: number][]} candidates
 * @property {boolean} causal
 * @property {boolean} tied
 * @property {boolean} adds
 * @property {boolean} compact
 * @property {Record<string, string>} words
 */

/** @typedef {Header & Themes<Colours> & { bytes: Uint8Array }} Message */

/**
 * A box to open.
 * @typedef {object} Step
 * @property {string} name
 * @property {number} layer The block that is then open.
 * @property {number} number Its place among all steps of the model, from 1.
 */

/** @param {Message} model */
export function openBox({ boxes, opened }) {
  return /** @type {Box} */ (boxes.find((box) => box.name === opened));
}

/**
 * @param {Message} model
 * @param {string} name
 */
export function placeOf({ boxes }, name) {
  return boxes.findIndex((box) => box.name === name);
}

/**
 * Return the boxes of the open block.
 * @param {Message} model
 */
export function insideBlock({ boxes }) {
  return boxes.filter((box) => box.layer !== null);
}

/**
 * Return the step before or after the open box, null at the ends. The last box of a block leads into the next block, at
 * its first box, and the other way round.
 * @param {Message} model
 * @param {-1 | 1} by
 * @returns {Step | null}
 */
export function nextStep(model, by) {
  const { boxes, layer, layers, opened, total } = model;
  const number = model.number + by;
  if (number < 1 || number > total) return null;
  const here = openBox(model);
  const there = boxes[placeOf(model, opened) + by];
  const inside = insideBlock(model);
  const isLeaving = here.layer !== null && (there?.layer ?? null) === null;
  const isEntering = here.layer === null && there.layer !== null;
  if (isLeaving && layer + by >= 0 && layer + by < layers) {
    return { name: (by > 0 ? inside[0] : inside[inside.length - 1]).name, layer: layer + by, number };
  }
  return { name: there.name, layer: isEntering ? (by > 0 ? 0 : layers - 1) : layer, number };
}

/**
 * Return the step that opens a box of the picture as it stands.
 * @param {Message} model
 * @param {Box} box
 * @returns {Step}
 */
export function stepTo(model, box) {
  const { boxes, layer, layers } = model;
  const inside = insideBlock(model).length;
  const first = boxes.findIndex((other) => other.layer !== null);
  const place = placeOf(model, box.name);
  const before = box.layer !== null ? layer : place > first ? layers - 1 : 0; // blocks that are not in the picture
  return { name: box.name, layer, number: place + 1 + before * inside };
}

/**
 * Return the name of the box to open in another block: the same one, or the first one where a box outside is open.
 * @param {Message} model
 */
export function nameInBlock(model) {
  const box = openBox(model);
  return (box.layer !== null ? box : insideBlock(model)[0]).name;
}
