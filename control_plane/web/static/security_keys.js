// Speaks with security keys (WebAuthn): registers one, proves who one is, has a decision signed. Every form that needs a
// key is an ordinary form once its hidden field holds the key's answer; sent without one, it is told what is missing.

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const named = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

async function post(form, path, body) {
  const headers = { "content-type": "application/json", "x-csrf-token": form.elements.csrf_token.value };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail || told.title);
  return told;
}

function credential(made, response) {
  return { id: made.id, rawId: text(made.rawId), type: made.type, clientExtensionResults: {}, response: { clientDataJSON: text(made.response.clientDataJSON), ...response } };
}

async function signed({ challenge_id, public_key: options }) {
  const publicKey = { ...options, challenge: bytes(options.challenge), allowCredentials: named(options.allowCredentials) };
  const made = await navigator.credentials.get({ publicKey });
  const { authenticatorData, signature, userHandle } = made.response;
  const handle = userHandle && userHandle.byteLength ? { userHandle: text(userHandle) } : {};
  return { challenge_id, credential: credential(made, { authenticatorData: text(authenticatorData), signature: text(signature), ...handle }) };
}

async function registered({ challenge_id, public_key: options }) {
  const user = { ...options.user, id: bytes(options.user.id) };
  const publicKey = { ...options, user, challenge: bytes(options.challenge), excludeCredentials: named(options.excludeCredentials) };
  const made = await navigator.credentials.create({ publicKey });
  const transports = made.response.getTransports?.() || [];
  return { challenge_id, credential: credential(made, { attestationObject: text(made.response.attestationObject), transports }) };
}

// What is signed is what the form sends: the digests that stood on the page, and the window that was chosen in it.
function decision(form) {
  const { digest, also, minutes, uses } = form.elements;
  const others = also ? [also].flatMap((one) => (one instanceof RadioNodeList ? [...one] : one)).map((one) => one.value.split(":")) : [];
  const chosen = minutes && uses ? { window: { minutes: Number(minutes.value), uses: Number(uses.value) } } : {};
  return { verb: form.dataset.sign, digest: digest.value, also: others.map(([id, shown]) => ({ id, digest: shown })), ...chosen };
}

const steps = {
  sign: async (form) => { form.elements.signature.value = JSON.stringify(await signed(await post(form, `/v1/approvals/${form.dataset.approval}/challenges`, decision(form)))); },
  prove: async (form) => { form.elements.evidence.value = JSON.stringify(await signed(await post(form, "/v1/security-keys/challenges"))); },
  register: async (form) => {
    const answer = await registered(await post(form, "/v1/security-keys/registrations"));
    await post(form, "/v1/security-keys", { name: form.elements.name.value, ...answer });
  },
};

function said(error) {
  if (error.name === "NotAllowedError") return "The key did not answer, or you stopped it. Try again.";
  if (error.name === "InvalidStateError") return "This key is registered already.";
  if (error.name === "SecurityError") return "Keys are bound to another address than this page's: open the console at its own address.";
  return error.message || "The key could not be used.";
}

// On the document: the page puts new forms into itself while it is open.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  const step = Object.keys(steps).find((one) => one in form.dataset);
  if (!step) return;
  event.preventDefault();
  const told = document.getElementById("told"); // stays when the page refreshes what is above it
  if (!window.PublicKeyCredential) { told.textContent = "This browser uses no security keys here."; return; }
  told.textContent = "Touch your security key.";
  try {
    await steps[step](form);
    if (step === "register") { location.assign(location.pathname); return; }
    if (!form.isConnected) document.body.append(form); // the page has refreshed itself meanwhile
    form.submit();
  } catch (error) {
    told.textContent = said(error);
  }
});
