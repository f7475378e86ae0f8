// A notes API in memory, with no protection of its own: no limits, no checks of
// input, no CORS, no authentication. It believes whoever the header
// X-Ringwall-User names. So it listens on loopback only, and Ringwall stands
// in front of it.
import express from "express";

const api = express();
api.use(express.json({ limit: "100mb", strict: false }));

const notes = new Map();
let last = 0;

const userOf = (req) => req.get("x-ringwall-user") ?? "nobody";

// page lists the notes that belong, newest first.
function page(req, res, belongs) {
  const { q = "", limit = 20, cursor = Infinity } = req.query;
  const found = [...notes.values()]
    .reverse()
    .filter((n) => belongs(n) && n.id < Number(cursor))
    .filter((n) => `${n.title}\n${n.text}`.toLowerCase().includes(String(q).toLowerCase()));
  const shown = found.slice(0, Number(limit));
  res.json({ notes: shown, ...(found.length > shown.length && { next: shown.at(-1).id }) });
}

api.get("/api/public/status", (req, res) => res.json({ status: "ok" }));
api.get("/api/public/openapi.yaml", (req, res) => res.sendFile("openapi.yaml", { root: "." }));
api.get("/api/notes", (req, res) => page(req, res, (n) => n.owner === userOf(req)));
api.get("/api/admin/notes", (req, res) => page(req, res, () => true));

// Whatever the body holds becomes the note, id and owner too: that it holds
// nothing but a title and a text is for openapi.yaml to say.
api.post("/api/notes", (req, res) => {
  const note = { id: ++last, owner: userOf(req), ...req.body };
  notes.set(note.id, note);
  res.status(201).location(`/api/notes/${note.id}`).json(note);
});

// mine finds the caller's note, or answers 404.
function mine(req, res, next) {
  req.note = notes.get(Number(req.params.id));
  if (req.note?.owner === userOf(req)) return next();
  res.status(404).json({ title: "Not Found", status: 404 });
}

api.get("/api/notes/:id", mine, (req, res) => res.json(req.note));
api.put("/api/notes/:id", mine, (req, res) => res.json(Object.assign(req.note, req.body)));
api.delete("/api/notes/:id", mine, (req, res) => {
  notes.delete(req.note.id);
  res.sendStatus(204);
});

const port = Number(process.env.PORT ?? 8000);
const server = api.listen(port, "127.0.0.1", (err) => {
  if (err) throw err;
  console.log(`notes on http://127.0.0.1:${server.address().port}`);
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => server.close());
