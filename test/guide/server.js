// An API that its owner hardened as the usual guide has it: helmet, cors with a
// list, limits over 15 minutes, bodies of 200 kB, a schema for each body, tokens.
// What the guide leaves open is left open here: the checks must find it.
import "dotenv/config";
import compression from "compression";
import cookieParser from "cookie-parser";
import cors from "cors";
import express from "express";
import { rateLimit } from "express-rate-limit";
import helmet from "helmet";
import jwt from "jsonwebtoken";
import pino from "pino";
import { pinoHttp } from "pino-http";
import { z } from "zod";

const secret = process.env.JWT_SECRET;
const origins = ["https://your-frontend.com"];

const api = express();
api.use(pinoHttp({ logger: pino({ level: process.env.LOG_LEVEL ?? "silent" }) }));
api.use(helmet());
api.use(
  cors({
    origin: (origin, done) => (!origin || origins.includes(origin) ? done(null, true) : done(new Error("Not allowed by CORS"))),
    credentials: true,
    methods: ["GET", "POST", "PUT", "PATCH", "DELETE"],
    allowedHeaders: ["Content-Type", "Authorization"],
  }),
);
api.use(express.json({ limit: "200kb" }));
api.use(express.urlencoded({ extended: true, limit: "200kb" }));
api.use(cookieParser());
api.use(compression());

const quarter = 15 * 60 * 1000;
api.use(rateLimit({ windowMs: quarter, limit: 600, standardHeaders: true, legacyHeaders: false }));
api.use("/api/auth", rateLimit({ windowMs: quarter, limit: 20, standardHeaders: true, legacyHeaders: false, message: { error: "Too many attempts, try again later." } }));

const valid = (schema) => (req, res, next) => {
  const parsed = schema.safeParse(req.body);
  if (!parsed.success) return res.status(400).json({ error: "Validation failed", issues: parsed.error.issues });
  req.body = parsed.data;
  next();
};
const credentials = z.object({ email: z.email(), password: z.string().min(8).max(72) });
const registration = credentials.extend({ name: z.string().min(2).max(80) });

const signedIn = (req, res, next) => {
  const [scheme, token] = (req.get("authorization") ?? "").split(" ");
  try {
    if (scheme !== "Bearer") throw new Error("no token");
    req.user = jwt.verify(token, secret, { algorithms: ["HS256"], audience: "api", issuer: "guide" });
    next();
  } catch {
    res.status(401).json({ error: "Unauthorized" });
  }
};
const role = (name) => (req, res, next) => (req.user.role === name ? next() : res.status(403).json({ error: "Forbidden" }));

api.get("/", (req, res) => res.json({ status: "ok" }));
api.post("/api/auth/register", valid(registration), (req, res) => res.status(201).json({ id: 1 }));
api.post("/api/auth/login", valid(credentials), (req, res) => res.status(401).json({ error: "Invalid credentials" }));
api.get("/api/me", signedIn, (req, res) => res.json({ id: req.user.sub }));
api.get("/api/admin", signedIn, role("admin"), (req, res) => res.json({ users: [] }));

const server = api.listen(Number(process.env.PORT ?? 8000), "127.0.0.1", (err) => {
  if (err) throw err;
  console.log(`guide on http://127.0.0.1:${server.address().port}`);
});
process.on("SIGTERM", () => server.close());
