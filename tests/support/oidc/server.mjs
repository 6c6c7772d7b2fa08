// The certified OpenID provider of npm's oidc-provider, as one company's: people with groups, machines, several clients.
// Everything is in memory. `/test/…` is for the tests: who there is, what they are told of, new keys, a device approved.
// Started with the folder that has node_modules, and one that names the process for its watcher (watching.py); prints
// its address as one line of JSON when it listens.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const at = createRequire(`${process.argv[2]}/`);
const load = async (path) => import(pathToFileURL(at.resolve(path)).href);
const { default: Provider } = await load('oidc-provider');
const { default: MemoryAdapter } = await load('oidc-provider/lib/adapters/memory_adapter.js');
const { generateKeyPair, exportJWK } = await load('jose');

const clients = new Map();
const people = new Map(); // name → {claims, acr, amr, disabled, overage}
const machines = new Map(); // client id → further claims of its access tokens
const cookieKey = randomBytes(16).toString('hex');
let keys = [await newKey('RS256'), await newKey('ES256')];
let provider;
let answer;

class Adapter extends MemoryAdapter {
  constructor(name) {
    super(name);
    this.name = name;
  }

  async find(id) {
    return this.name === 'Client' ? clients.get(id) : super.find(id);
  }
}

async function newKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: randomBytes(6).toString('hex') };
}

function claimsOf(name, person, use) {
  const claims = { sub: name, preferred_username: name, amr: person.amr || ['pwd'], ...person.claims };
  if (person.overage && use === 'id_token') {
    delete claims.groups;
    claims._claim_names = { groups: 'src1' };
    claims._claim_sources = { src1: { endpoint: `${issuer}/nowhere` } };
  }
  return claims;
}

async function findAccount(ctx, name) {
  const person = people.get(name);
  if (!person || person.disabled) return undefined;
  return { accountId: name, claims: async (use) => claimsOf(name, person, use) };
}

// Whoever signs in grants what is asked for.
async function loadExistingGrant(ctx) {
  const { oidc } = ctx;
  const id = oidc.result?.consent?.grantId || oidc.session.grantIdFor(oidc.client.clientId);
  const grant = (id && await oidc.provider.Grant.find(id))
    || new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
  grant.addOIDCScope([...oidc.requestParamScopes].join(' '));
  await grant.save();
  return grant;
}

const resource = (ctx, indicator) => ({
  scope: 'use', audience: indicator, accessTokenTTL: 600, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
});

function configuration() {
  return {
    adapter: Adapter,
    jwks: { keys },
    cookies: { keys: [cookieKey] },
    claims: {
      openid: ['sub', 'groups', 'amr', 'hasgroups'],
      profile: ['name', 'preferred_username', 'realm_access'],
      email: ['email', 'email_verified'],
    },
    conformIdTokenClaims: false,
    findAccount,
    loadExistingGrant,
    scopes: ['openid', 'offline_access', 'profile', 'email', 'use'],
    acrValues: ['urn:example:password', 'urn:example:two-factors'],
    pkce: { required: () => true },
    issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    extraTokenClaims: (ctx, token) => machines.get(token.clientId),
    ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 86400, RefreshToken: 86400, Session: 86400, Grant: 86400,
      Interaction: 600, DeviceCode: 600, AuthorizationCode: 60 },
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    clientBasedCORS: () => false,
    // Its own dispatcher reaches no loopback address; the logouts go to this machine, and it may be slow.
    fetch: (url, { dispatcher, signal, ...options }) => globalThis.fetch(url, options),
    features: {
      devInteractions: { enabled: false },
      deviceFlow: {
        enabled: true,
        userCodeInputSource: (ctx, form) => { ctx.body = form; },
        userCodeConfirmSource: (ctx, form) => { ctx.body = form; },
        successSource: (ctx) => { ctx.body = 'approved'; },
      },
      clientCredentials: { enabled: true },
      backchannelLogout: { enabled: true },
      revocation: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => {
          ctx.body = `${form}<button name="logout" value="yes" form="op.logoutForm">Sign out</button>`;
        },
        postLogoutSuccessSource: (ctx) => { ctx.body = 'signed out'; },
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: (ctx, client, oneOf) => oneOf,
        useGrantedResource: () => false,
        getResourceServerInfo: resource,
      },
    },
    renderError: (ctx, out) => { ctx.type = 'json'; ctx.body = out; },
  };
}

function begin() {
  provider = new Provider(issuer, configuration());
  provider.on('server_error', (ctx, error) => console.error(error));
  provider.on('grant.error', (ctx, error) => console.error(error.message, error.error_detail));
  provider.on('backchannel.error', (ctx, error) => console.error(error.message));
  answer = provider.callback();
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

// A page with a name to type; what is posted to it signs in.
async function interaction(request, response) {
  const details = await provider.interactionDetails(request, response);
  if (request.method === 'GET') {
    response.setHeader('content-type', 'text/html');
    response.end('<form method="post"><input name="name" autofocus><button>Sign in</button></form>');
    return;
  }
  const name = new URLSearchParams(await bodyOf(request)).get('name');
  const person = people.get(name);
  const result = !person || person.disabled
    ? { error: 'access_denied', error_description: 'nobody of that name' }
    : { login: { accountId: name, acr: acrOf(person, details), amr: person.amr || ['pwd'] } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

function acrOf(person, details) {
  return person.acr || (details.params.acr_values || '').split(' ')[0] || 'urn:example:password';
}

const orders = {
  client: (order) => { clients.set(order.client_id, order); },
  person: (order) => { people.set(order.name, order); },
  machine: (order) => { machines.set(order.client_id, order.claims); },
  keys: async (order) => {
    const made = [await newKey('RS256'), await newKey('ES256')];
    keys = order.keep ? [...made, ...keys] : made;
    begin();
  },
};

async function test(request, response) {
  const order = orders[request.url.slice('/test/'.length)];
  await order(JSON.parse(await bodyOf(request)));
  response.end('{}');
}

const server = createServer((request, response) => {
  const handle = request.url.startsWith('/test/') ? test : request.url.startsWith('/interaction/') ? interaction : answer;
  Promise.resolve(handle(request, response)).catch((error) => {
    console.error(error);
    response.statusCode = 500;
    response.end(String(error));
  });
});
await new Promise((ready) => { server.listen(0, '127.0.0.1', ready); });
const issuer = `http://127.0.0.1:${server.address().port}`;
begin();
console.log(JSON.stringify({ issuer }));
