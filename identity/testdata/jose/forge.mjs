// Makes tokens that must be refused, and some that must not, from the private
// key of a key set: {good: {name: token}, bad: {name: token}}.
import { text } from 'node:stream/consumers';
import * as jose from 'jose';

const { jwk, issuer, audience, now } = JSON.parse(await text(process.stdin));
const { d, ...publicJWK } = jwk;
const kid = jwk.kid;
const key = await jose.importJWK(jwk, 'EdDSA');
const publicKey = await jose.importJWK(publicJWK, 'EdDSA', { extractable: true });
const spki = await jose.exportSPKI(publicKey);
const theirs = await jose.generateKeyPair('EdDSA', { extractable: true });
const theirJWK = await jose.exportJWK(theirs.publicKey);
const rsa = await jose.generateKeyPair('RS256');
const ec = await jose.generateKeyPair('ES256');
const bytes = (s) => new TextEncoder().encode(s);

const header = { alg: 'EdDSA', typ: 'at+jwt', kid };
const claims = { iss: issuer, aud: audience, sub: 'alice', sid: 's1', jti: '1', roles: ['user'], iat: now, exp: now + 600 };
const sign = (changes = {}, more = {}, by = key, opts) =>
  new jose.SignJWT({ ...claims, ...more }).setProtectedHeader({ ...header, ...changes }).sign(by, opts);
const hs256 = (secret) => sign({ alg: 'HS256' }, {}, secret);

const good = {
  plain: await sign(),
  'audience in a list': await sign({}, { aud: ['https://other.example', audience] }),
  'media type in full': await sign({ typ: 'application/at+jwt' }),
};
const bad = {
  unsecured: new jose.UnsecuredJWT(claims).encode(),
  'HS256 with the public key as PEM': await hs256(bytes(spki)),
  'HS256 with the raw public key': await hs256(jose.base64url.decode(jwk.x)),
  'HS256 with the public key as base64url': await hs256(bytes(jwk.x)),
  'HS256 with the public JWK': await hs256(bytes(JSON.stringify(publicJWK))),
  'another key, our kid': await sign({}, {}, theirs.privateKey),
  'another key, its own kid': await sign({ kid: await jose.calculateJwkThumbprint(theirJWK) }, {}, theirs.privateKey),
  'another key in jwk': await sign({ jwk: theirJWK }, {}, theirs.privateKey),
  'another key in jwk, no kid': await sign({ jwk: theirJWK, kid: undefined }, {}, theirs.privateKey),
  'another key behind jku': await sign({ jku: 'https://evil.example/jwks.json' }, {}, theirs.privateKey),
  'another key behind x5u': await sign({ x5u: 'https://evil.example/cert.pem' }, {}, theirs.privateKey),
  'a good key, and jku': await sign({ jku: 'https://evil.example/jwks.json' }),
  RS256: await sign({ alg: 'RS256' }, {}, rsa.privateKey),
  ES256: await sign({ alg: 'ES256' }, {}, ec.privateKey),
  'alg Ed25519, which is another name': await sign({ alg: 'Ed25519' }),
  'kid of a path': await sign({ kid: '../../../../dev/null' }),
  'kid of a file of ours': await sign({ kid: 'secrets/identity_keys.json' }),
  'kid of SQL': await sign({ kid: "' UNION SELECT '" }),
  'no kid': await sign({ kid: undefined }),
  'typ JWT': await sign({ typ: 'JWT' }),
  'no typ': await sign({ typ: undefined }),
  'critical extension': await sign({ crit: ['b64'], b64: true }),
  'payload not encoded': await new jose.CompactSign(bytes('x')).setProtectedHeader({ ...header, crit: ['b64'], b64: false }).sign(key).catch(() => 'a..b'),
  'another issuer': await sign({}, { iss: 'https://evil.example' }),
  'another audience': await sign({}, { aud: 'https://evil.example' }),
  'issued in the future': await sign({}, { iat: now + 120, exp: now + 600 }),
  'not valid yet': await sign({}, { nbf: now + 120 }),
  'no expiry': await sign({}, { exp: undefined }),
  'no subject': await sign({}, { sub: undefined }),
  'no id': await sign({}, { jti: undefined }),
  'no time of issue': await sign({}, { iat: undefined }),
  encrypted: await new jose.EncryptJWT(claims).setProtectedHeader({ alg: 'dir', enc: 'A256GCM', typ: 'at+jwt', kid }).encrypt(jose.base64url.decode(jwk.x)),
  'signed text that is no JSON': await new jose.CompactSign(bytes('hello')).setProtectedHeader(header).sign(key),
  'signed array': await new jose.CompactSign(bytes('[]')).setProtectedHeader(header).sign(key),
};
const expired = await sign({}, { iat: now - 7200, exp: now - 3600 });
console.log(JSON.stringify({ good, bad, expired }));
