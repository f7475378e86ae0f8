// Verifies an assertion a line, as an API behind Ringwall would.
import { createInterface } from 'node:readline';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [url, issuer, audience] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(url));
for await (const assertion of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const { payload } = await jwtVerify(assertion, keys, { issuer, audience, typ: 'ringwall-assertion+jwt', algorithms: ['EdDSA'] });
    answer = `${payload.sub} ${payload.sid} ${payload.roles}`;
  } catch (e) {
    answer = e.claim ? `${e.code} ${e.claim}` : e.code ?? String(e);
  }
  console.log(answer);
}
