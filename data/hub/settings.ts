// Where the hub is, who asks and where its files are kept: the environment variables of Python's huggingface_hub, with the
// same meaning.
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { variable } from "../../src/environment.ts";

export interface HubSettings {
  /** The address of the hub, without a slash at the end. */
  readonly endpoint: string;
  readonly token: string | null;
  /** The folder with a folder for each repository. */
  readonly cache: string;
  readonly isOffline: boolean;
}

/** @throws if HF_ENDPOINT or the token cannot be used */
export async function hubSettings(): Promise<HubSettings> {
  const home = folder("HF_HOME") ??
    join(folder("XDG_CACHE_HOME") ?? join(userHome(), ".cache"), "huggingface");
  return {
    endpoint: endpoint(),
    token: await token(home),
    cache: folder("HF_HUB_CACHE") ?? folder("HUGGINGFACE_HUB_CACHE") ?? join(home, "hub"),
    isOffline: isOn("HF_HUB_OFFLINE") || isOn("TRANSFORMERS_OFFLINE"),
  };
}

/** The folder for what does not come from the hub. */
export function ownCache(): string {
  const caches = folder("XDG_CACHE_HOME") ?? folder("LOCALAPPDATA") ?? join(userHome(), ".cache");
  return join(caches, "tessera", "downloads");
}

function endpoint(): string {
  const given = variable("HF_ENDPOINT") || "https://huggingface.co";
  try {
    const { protocol, username } = new URL(given);
    if (/^https?:$/.test(protocol) && username === "") return given.replace(/\/+$/, "");
  } catch {
    // falls through to the error
  }
  throw new Error(
    `HF_ENDPOINT is ${
      JSON.stringify(given)
    }, expected an address such as https://huggingface.co; correct or unset it`,
  );
}

async function token(home: string): Promise<string | null> {
  const set = variable("HF_TOKEN") || variable("HUGGING_FACE_HUB_TOKEN");
  const path = folder("HF_TOKEN_PATH") ?? join(home, "token");
  if (!set && isOn("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return null;
  const found = (set || await readFile(path, "utf8").catch(() => "")).replace(/[\r\n]/g, "").trim();
  if (found === "") return null;
  if (/^[\x21-\x7e]+$/.test(found)) return found;
  throw new Error(
    `the token in ${
      set ? "HF_TOKEN" : path
    } has characters that no token has; copy it again from the hub's settings`,
  );
}

function isOn(name: string): boolean {
  return /^(1|on|yes|true)$/i.test(variable(name) ?? "");
}

/** The path in a variable, with ~ and $NAME replaced as Python does; undefined if it is not set. */
function folder(name: string): string | undefined {
  const path = variable(name);
  if (!path) return undefined;
  return path.replace(/^~(?=$|[/\\])/, () => userHome())
    .replace(/\$(?:\{(\w+)\}|(\w+))/g, (all, braced, plain) => variable(braced ?? plain) ?? all);
}

function userHome(): string {
  return variable(process.platform === "win32" ? "USERPROFILE" : "HOME") || homedir();
}
