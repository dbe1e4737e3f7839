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

/** The answer to GET /api/{path}, as a `Response`. Raises Problem. */
async function fetched(path, parameters, signal) {
  const url = new URL(path, BASE);
  for (const [name, values] of Object.entries(parameters)) {
    for (const value of [values].flat()) if (value !== null && value !== undefined) url.searchParams.append(name, value);
  }
  const key = sessionStorage.getItem(KEY);
  let response;
  try {
    response = await fetch(url, { headers: key ? { "x-functions-key": key } : {}, signal, cache: "no-store" });
  } catch (fault) {
    if (signal?.aborted) throw fault;
    throw new Problem("down", "The API does not answer.");
  }
  if (response.ok) return response;
  throw await problem(response);
}

async function problem(response) {
  const { code = "", message = "" } = await response.json().then((body) => body.error ?? {}, () => ({}));
  if (response.status === 401) return new Problem(code === "unauthenticated" ? "sign-in" : "key", message, code);
  if (response.status === 403) return new Problem("forbidden", message, code);
  if (response.status === 404) return new Problem("missing", message, code);
  if (response.status < 500) return new Problem("refused", message, code);
  return new Problem("down", message || `The API answers with ${response.status}.`, code);
}

/** The answer as JSON. Raises Problem. */
export async function ask(path, parameters = {}, signal = undefined) {
  return (await fetched(path, parameters, signal)).json();
}

/** The same with how old its newest data is, in seconds by the API's own clock, or null. */
export async function askDated(path, parameters, signal) {
  const response = await fetched(path, parameters, signal);
  const counted = response.headers.get("x-counted-at");
  const now = Date.parse(response.headers.get("date") ?? "") || Date.now();
  return { ...(await response.json()), age: counted && Math.max(0, (now - Date.parse(counted)) / 1000) };
}

const PAGE = 1000;

/** All pages of an answer as one CSV. */
export async function csv(path, parameters) {
  let [text, cursor] = ["", null];
  do {
    const response = await fetched(path, { ...parameters, format: "csv", limit: PAGE, cursor });
    const page = await response.text();
    text += text ? page.slice(page.indexOf("\r\n") + 2) : page;
    cursor = response.headers.get("x-next-cursor");
  } while (cursor);
  return text;
}
