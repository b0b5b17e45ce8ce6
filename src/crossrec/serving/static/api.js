// Requests to the service. Every failure is an Error with a message to show.

export class TokenNeeded extends Error {}

const KEY = "crossrec-token";

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  } catch {
    throw new Error("The service does not answer.");
  }
  if (response.status === 401) throw new TokenNeeded();
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new Error(body.error || `The service answered with status ${response.status}.`);
  }
  return response;
}

export async function get(path, query = {}) {
  return (await request(`${path}?${new URLSearchParams(query)}`)).json();
}

export async function post(path, body) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return (await request(path, options)).json();
}

/** Load the picture of an item into an <img>; with a token by fetch, since an <img> cannot send a token. */
export function show(image, item, run) {
  const address = `/v1/picture?${new URLSearchParams({ item, run })}`;
  if (!sessionStorage.getItem(KEY)) {
    image.src = address;
    return;
  }
  request(address)
    .then((response) => response.blob())
    .then((blob) => {
      image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
      image.src = URL.createObjectURL(blob);
    })
    .catch(() => image.remove());
}

/** All outcomes, {value} or {reason}, so that one run's error does not hide another's result. Throws if all fail. */
export async function settled(promises) {
  const outcomes = await Promise.allSettled(promises);
  if (outcomes.every((outcome) => outcome.status === "rejected")) throw outcomes[0].reason;
  return outcomes;
}
