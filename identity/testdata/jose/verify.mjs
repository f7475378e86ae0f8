// Verifies a token a line with the key set at a URL, as another service would:
// it fetches the set once and keeps it.
import { createInterface } from 'node:readline';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [url, issuer, audience] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(url), { cooldownDuration: 1e9, cacheMaxAge: 1e9 });
for await (const token of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const { payload } = await jwtVerify(token, keys, { issuer, audience, typ: 'at+jwt', algorithms: ['EdDSA'] });
    answer = `${payload.sub} ${payload.sid} ${payload.roles}`;
  } catch (e) {
    answer = e.code ?? String(e);
  }
  console.log(answer);
}
