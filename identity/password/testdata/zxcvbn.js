// Makes zxcvbn.tsv, what the original zxcvbn says about made-up passwords:
// npm install zxcvbn@4.4.2 && node zxcvbn.js > zxcvbn.tsv
const zxcvbn = require("zxcvbn");

let seed = 20260101;
function below(n) { // Lehmer's generator: the same numbers each time
  seed = (seed * 48271) % 2147483647;
  return seed % n;
}
const pick = (list) => list[below(list.length)];
const times = (n, f) => Array.from({ length: n }, f).join("");

const words = ("password dragon monkey shadow michael jennifer summer winter baseball football welcome " +
  "sunshine princess liverpool chelsea orange purple elephant tiger butterfly computer internet chocolate " +
  "cookie flower freedom hunter killer london master matrix morning mountain river silver winston yellow " +
  "battery horse staple correct window garden letter number police doctor castle forest island").split(" ");
const rare = ("turnstile cauldron gherkin lighthouse marzipan saxophone tortoise wheelbarrow xylophone " +
  "barnacle dulcimer fandango jackdaw lavatory nutmeg porcupine rhubarb thimble umbrage zeppelin").split(" ");
const cap = (w) => w[0].toUpperCase() + w.slice(1);
const leet = (w) => w.replace(/a/g, "@").replace(/o/g, "0").replace(/e/g, "3").replace(/s/g, "$");
const two = (n) => String(n).padStart(2, "0");
const lower = "abcdefghijklmnopqrstuvwxyz", digits = "0123456789", signs = "!#$%&*+-=?@_";

const makers = [
  () => pick(words) + below(1000),
  () => cap(pick(words)) + pick(["1", "!", "123", "1!", "2024", "2026", "99", "007"]),
  () => leet(pick(words)) + below(100),
  () => pick(words) + pick(words),
  () => pick(words).split("").reverse().join("") + below(100),
  () => two(1 + below(28)) + pick(["", ".", "/", "-"]) + two(1 + below(12)) + pick(["", "."]) + (1950 + below(70)),
  () => pick(["qwerty", "asdfgh", "zxcvbn", "1q2w3e", "qazwsx", "poiuyt"]) + pick(["uiop", "jkl", "123", "!", "4r5t", "edc"]),
  () => times(4 + below(4), ((p) => () => p)(pick(["ab", "12", "xyz", "aa", "7a"]))),
  () => pick(["abcdefgh", "12345678", "98765432", "hijklmno", "zyxwvuts"]) + below(10),
  () => pick(words) + pick(["-", " ", "_", ""]) + pick(rare) + pick(["-", " ", ""]) + pick(rare),
  () => pick(rare) + " " + pick(rare) + " " + pick(rare) + " " + pick(rare),
  () => times(8 + below(8), () => pick([...lower])),
  () => times(8 + below(8), () => pick([...(lower + lower.toUpperCase() + digits)])),
  () => times(8 + below(8), () => pick([...(lower + lower.toUpperCase() + digits + signs)])),
  () => pick(rare) + below(10) + times(4, () => pick([...(lower + digits)])),
];

console.log("# password\tscore\tlog2 of guesses");
const seen = new Set();
for (let i = 0; i < 40; i++) {
  for (const make of makers) {
    const p = make();
    if (p.length < 8 || p.length > 64 || seen.has(p)) continue;
    seen.add(p);
    const r = zxcvbn(p);
    console.log(`${p}\t${r.score}\t${(r.guesses_log10 / Math.log10(2)).toFixed(1)}`);
  }
}
