import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

const hex = (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase();
const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, hex);
for (const { resource, key, expires, policy, token } of JSON.parse(readFileSync("sas.json"))) {
  const sr = encode(resource);
  const sig = createHmac("sha256", Buffer.from(key, "base64")).update(`${sr}\n${expires}`).digest("base64");
  const skn = policy === null ? "" : `&skn=${encode(policy)}`;
  const ours = `SharedAccessSignature sr=${sr}&sig=${encode(sig)}&se=${expires}${skn}`;
  if (ours !== token) throw new Error(`${ours}\n${token}`);
}
console.log("Node signs the same");
