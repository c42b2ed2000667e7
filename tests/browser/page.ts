// What the page of browser.test.ts runs: computes on the browser's GPU and sends the numbers back.
import { device } from "../../src/index.ts";
import { smoke } from "./smoke.ts";

const send = (answer: unknown) => fetch("/answer", { method: "POST", body: JSON.stringify(answer) });
try {
  const { description } = await device("webgpu");
  await send({ description, results: await smoke() });
} catch (error) {
  await send({ error: error instanceof Error ? `${error.message}\n${error.stack}` : String(error) });
}
