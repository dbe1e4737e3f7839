// Questions to the API, which lies beside this page. A key is kept for the session of this tab and sent in a header only.

const KEY = "usage-api-key";
const BASE = new URL("./", document.baseURI);

/** Why there is no answer. `kind`: `key`, `sign-in`, `forbidden`, `missing`, `refused` (of the question) or `down`. */
export class Problem extends Error {
  constructor(kind, message, code = "") {
    super(message);
    this.kind = kind;
    this.code = code;
  }
}

export const keepKey = (key) => sessionStorage.setItem(KEY, key);
export const forgetKey = () => sessionStorage.removeItem(KEY);
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/** Where App Service signs people in, and brings them back to this very view. */
export const signInAddress = () =>
  `/.auth/login/aad?post_login_redirect_uri=${encodeURIComponent(location.pathname + location.hash)}`;

/** Longer than the API itself takes: it gives up after 225 seconds at most (docs/configuration.md, QUERY_MAX_SECONDS). */
const LONGEST = 240_000;

/** The answer to GET /api/{path}: its `text` and `headers`. Raises Problem. */
async function fetched(path, parameters, signal) {
  const url = new URL(path, BASE);
  for (const [name, values] of Object.entries(parameters)) {
    for (const value of [values].flat()) if (value !== null && value !== undefined) url.searchParams.append(name, value);
  }
  const key = sessionStorage.getItem(KEY);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), LONGEST);
  let response;
  let text;
  try {
    response = await fetch(url, {
      headers: key ? { "x-functions-key": key } : {}, signal: AbortSignal.any([late.signal, ...(signal ? [signal] : [])]), cache: "no-store",
    });
    text = await response.text();
  } catch (fault) {
    if (signal?.aborted) throw fault;
    throw new Problem("down", late.signal.aborted ? `The API has not answered for ${LONGEST / 60_000} minutes.` : "The API does not answer.");
  } finally {
    clearTimeout(timer);
  }
  if (!response.ok) throw problem(response.status, text);
  return { text, headers: response.headers };
}

function problem(status, text) {
  const { code = "", message = "" } = parsed(text)?.error ?? {};
  if (status === 401) return code === "unauthenticated" ? new Problem("sign-in", message, code) : new Problem("key", message || "The API asks for a key.", code);
  if (status === 403) return new Problem("forbidden", message, code);
  if (status === 404) return new Problem("missing", message, code);
  if (status < 500) return new Problem("refused", message, code);
  return new Problem("down", message || `The API answers with ${status}.`, code);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function answered({ text }) {
  const answer = parsed(text);
  if (answer === null) throw new Problem("down", "What answers is not the API.");
  return answer;
}

/** The answer as JSON. Raises Problem. */
export async function ask(path, parameters = {}, signal = undefined) {
  return answered(await fetched(path, parameters, signal));
}

/** The same with how old its newest data is, in seconds by the API's own clock, or null. */
export async function askDated(path, parameters, signal) {
  const response = await fetched(path, parameters, signal);
  const counted = response.headers.get("x-counted-at");
  const now = Date.parse(response.headers.get("date") ?? "") || Date.now();
  return { ...answered(response), age: counted && Math.max(0, (now - Date.parse(counted)) / 1000) };
}

const PAGE = 1000;

/** All pages of an answer as one CSV. */
export async function csv(path, parameters) {
  let [text, cursor] = ["", null];
  do {
    const response = await fetched(path, { ...parameters, format: "csv", limit: PAGE, cursor });
    const page = response.text;
    text += text ? page.slice(page.indexOf("\r\n") + 2) : page;
    cursor = response.headers.get("x-next-cursor");
  } while (cursor);
  return text;
}
