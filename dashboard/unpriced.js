// What no price covers: an amount beside it is less than what it cost.

import { h } from "./dom.js";
import * as f from "./format.js";

export const isUnpriced = (figures) => figures.unpriced_tokens > 0 || figures.unpriced_audio_seconds > 0;

/** How much of it, in words; null if there is none. */
export function unpriced({ unpriced_tokens: tokens, unpriced_audio_seconds: seconds }) {
  const parts = [tokens > 0 && `${f.count(tokens)} tokens`, seconds > 0 && `${f.precise(seconds)} seconds of audio`].filter(Boolean);
  return parts.length ? `${parts.join(" and ")} not priced` : null;
}

/** Beside an amount: that it is not all. */
export const mark = (figures) => isUnpriced(figures) && h("abbr", { class: "warn", title: unpriced(figures) }, " +?");
