// Questions of the page to its engine: one at a time, the newest next, and none that has lost its meaning.
import { expect, test } from "bun:test";
import { Latest } from "../../playground/page/client.ts";

/** Asks numbers, whose answers come when `answer` is called. */
function asker(isCurrent?: (request: number) => boolean) {
  const waiting: ((answer: string | Error) => void)[] = [], asked: number[] = [], said: string[] = [];
  const latest = new Latest(
    (request: number) => {
      asked.push(request);
      return new Promise<string>((resolve, reject) => {
        waiting.push((answer) => answer instanceof Error ? reject(answer) : resolve(answer));
      });
    },
    (answer, request) => said.push(`${request}: ${answer}`),
    (error) => said.push(String(error)),
    isCurrent,
  );
  return { latest, asked, said, answer: (answer: string | Error) => waiting.shift()!(answer) };
}
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

test("only the newest request waits, and an error does not end the line", async () => {
  const { latest, asked, said, answer } = asker();
  for (const request of [1, 2, 3]) void latest.put(request);
  answer(new Error("no"));
  await turn();
  answer("yes");
  await turn();
  expect([asked, said]).toEqual([[1, 3], ["Error: no", "3: yes"]]);
});

test("a request that has lost its meaning is not asked, and neither its answer nor its error is shown", async () => {
  let model = "old";
  const { latest, asked, said, answer } = asker((request) => model === "old" || request >= 10);
  void latest.put(1);
  void latest.put(2);
  model = "new"; // both belonged to the old one
  answer("yes");
  await turn();
  void latest.put(10);
  answer("yes");
  await turn();
  expect([asked, said]).toEqual([[1, 10], ["10: yes"]]);
  model = "old";
  void latest.put(3);
  model = "new";
  answer(new Error("no"));
  await turn();
  expect([asked, said]).toEqual([[1, 10, 3], ["10: yes"]]);
});
