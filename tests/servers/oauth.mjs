// An OAuth 2.0 issuer: node oauth.mjs CONFIG.json. It is oidc-provider with its pages for
// development, which accept any user, and keeps everything in memory.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const conf = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const require = createRequire(`${conf.modules}/`);
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const device = 'urn:ietf:params:oauth:grant-type:device_code';
const client = {
  grant_types: [device, 'refresh_token', 'authorization_code'],
  response_types: ['code'],
  redirect_uris: ['http://127.0.0.1/'],
  application_type: 'native',
  client_secret: 'client-secret',
};
const provider = new Provider(conf.issuer, {
  clients: [
    { ...client, client_id: 'pop-client', token_endpoint_auth_method: 'none', client_secret: undefined },
    { ...client, client_id: 'pop-client-basic', token_endpoint_auth_method: 'client_secret_basic' },
    { ...client, client_id: 'pop-client-post', token_endpoint_auth_method: 'client_secret_post' },
    {
      client_id: 'introspector', client_secret: 'introspector-secret', grant_types: ['client_credentials'],
      response_types: [], redirect_uris: [], token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  scopes: ['openid', 'offline_access', 'mail'],
  cookies: { keys: ['throwaway'] },
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    clientCredentials: { enabled: true },
  },
  extraTokenClaims: (_ctx, token) => ({ username: token.accountId }),
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  issueRefreshToken: () => conf.refresh,
  rotateRefreshToken: conf.rotate,
  expiresWithSession: () => false,
  ttl: {
    AccessToken: conf.ttl, RefreshToken: conf.refresh_ttl, DeviceCode: conf.device_ttl,
    Grant: 86400, Session: 86400, Interaction: 3600, IdToken: 3600, AuthorizationCode: 60,
  },
});

// RFC 8628: interval and slow_down, which the library does not have.
const polled = new Map();
provider.use(async (ctx, next) => {
  await next();
  const route = ctx.oidc?.route;
  if (route === 'device_authorization' && ctx.status === 200 && conf.interval) {
    ctx.body.interval = conf.interval;
  }
  const code = ctx.oidc?.params?.device_code;
  if (route === 'token' && code && conf.interval) {
    const last = polled.get(code) ?? 0;
    polled.set(code, Date.now());
    if (ctx.body?.error === 'authorization_pending' && Date.now() - last < conf.interval * 900) {
      ctx.body = { error: 'slow_down', error_description: 'polled too soon' };
    }
  }
  if (route) console.log(new Date().toISOString(), ctx.method, route, ctx.status, ctx.body?.error ?? '');
});

http.createServer(provider.callback()).listen(conf.port, '127.0.0.1');
https.createServer({ key: readFileSync(conf.key), cert: readFileSync(conf.cert) }, provider.callback())
  .listen(conf.tls_port, '127.0.0.1');
