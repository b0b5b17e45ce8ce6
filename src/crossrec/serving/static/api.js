// What the service is asked. Every failure is an Error whose message can be shown.

export class TokenNeeded extends Error {}

const KEY = "crossrec-token";

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  } catch {
    throw new Error("The service does not answer.");
  }
  if (answer.status === 401) throw new TokenNeeded();
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.error || `The service answered with status ${answer.status}.`);
  }
  return answer;
}

export async function get(path, query = {}) {
  return (await ask(`${path}?${new URLSearchParams(query)}`)).json();
}

export async function post(path, body) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return (await ask(path, options)).json();
}

/** Put the picture of an item into an <img>; with a token it is fetched, as an <img> cannot send one. */
export function show(image, item, run) {
  const address = `/v1/picture?${new URLSearchParams({ item, run })}`;
  if (!sessionStorage.getItem(KEY)) {
    image.src = address;
    return;
  }
  ask(address)
    .then((answer) => answer.blob())
    .then((blob) => {
      image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
      image.src = URL.createObjectURL(blob);
    })
    .catch(() => image.remove());
}

/** All outcomes, {value} or {reason}: a run that lacks an id must not hide another's answer. Throws if none has one. */
export async function settled(promises) {
  const outcomes = await Promise.allSettled(promises);
  if (outcomes.every((one) => one.status === "rejected")) throw outcomes[0].reason;
  return outcomes;
}
