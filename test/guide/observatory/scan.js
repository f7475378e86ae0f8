// Prints what MDN's HTTP Observatory says of a site: scan.js HOST HTTPS-PORT HTTP-PORT
// Its scan() knows no ports, so that this calls what scan() does.
import { ALL_TESTS } from "@mdn/mdn-http-observatory/src/constants.js";
import { retrieve } from "@mdn/mdn-http-observatory/src/retriever/retriever.js";

const [host, httpsPort, httpPort] = process.argv.slice(2);
const seen = await retrieve(host, { httpsPort: Number(httpsPort), httpPort: Number(httpPort) });
if (!seen.responses.auto) throw new Error("the site seems to be down");
const verdicts = {};
for (const test of ALL_TESTS) {
  const { name, pass, result } = test(seen);
  verdicts[name ?? test.name] = { pass, result };
}
console.log(JSON.stringify(verdicts));
