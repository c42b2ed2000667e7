// A notebook's source and its file. The source is a TypeScript module in which `// %%` begins a cell of code and `// %%
// [markdown]` one of text, which stands in a block comment (Jupytext's percent format). The file is Jupyter's, format 4.5, with
// the outputs.

/** A cell of a notebook. */
export interface Cell {
  readonly kind: "markdown" | "code";
  readonly text: string;
}

/** What a cell shows, as Jupyter's format has it. Objects are in the order in which they were shown. */
export type Output =
  | { readonly output_type: "stream"; readonly name: "stdout" | "stderr"; text: string[] }
  | {
    readonly output_type: "display_data" | "execute_result";
    data: Readonly<Record<string, string | readonly string[]>>;
    readonly metadata: Readonly<Record<string, never>>;
    readonly execution_count?: number;
  };

/** What Jupyter stores in an .ipynb file, as far as it is used here. */
export interface NotebookFile {
  readonly cells: readonly {
    readonly cell_type: "markdown" | "code";
    readonly source: readonly string[];
    readonly outputs?: readonly Output[];
  }[];
}

/** The cells of a source. What stands above the first of them belongs to none. @throws if text does not stand in a comment */
export function readCells(source: string): Cell[] {
  return source.split(/^\/\/ %%/m).slice(1).map((part) => {
    const end = part.indexOf("\n"), body = part.slice(end).trim();
    if (part.slice(0, end).trim() !== "[markdown]") return { kind: "code", text: body };
    const text = /^\/\*\n(.*)\n\*\/$/s.exec(body)?.[1];
    if (text === undefined) throw new Error(`a cell of text is no block comment: ${body.slice(0, 60)}`);
    return { kind: "markdown", text };
  });
}

/** Lines as Jupyter stores them: each but the last ends with a line break. */
export const linesOf = (text: string): string[] => text.split(/(?<=\n)/);

/** The text of the .ipynb file. @param outputs of each cell of code, in order */
export function notebookText(cells: readonly Cell[], outputs: readonly (readonly Output[])[]): string {
  let count = 0;
  const written = cells.map(({ kind, text }, i) => {
    const cell = { cell_type: kind, id: `cell-${i + 1}`, metadata: {}, source: linesOf(text) };
    if (kind === "markdown") return cell;
    count++;
    return { ...cell, execution_count: count, outputs: outputs[count - 1] };
  });
  const file = {
    cells: written,
    metadata: {
      kernelspec: { display_name: "Deno", language: "typescript", name: "deno" },
      language_info: {
        codemirror_mode: "typescript",
        file_extension: ".ts",
        mimetype: "text/x.typescript",
        name: "typescript",
      },
    },
    nbformat: 4,
    nbformat_minor: 5,
  };
  return JSON.stringify(file, null, 1) + "\n";
}

/** A statement that is no expression, or the end of a statement that began further up. */
const noExpression =
  /^(?:import|export|const|let|var|function|async function|class|interface|type|for|if|while|do|try|switch|throw|[)}\]/])/;

/**
 * The code of a cell in which the value of the last statement goes to `show`, if it has one. It depends on `deno fmt`: a line
 * that begins without a space begins a statement, or closes one.
 */
export function withResult(code: string, show: string): string {
  const lines = code.split("\n"), last = lines.findLastIndex((line) => /^[^\s)}\]]/.test(line));
  if (noExpression.test(lines[last])) return code;
  const before = lines.slice(0, last), expression = lines.slice(last).join("\n").replace(/;\s*$/, "");
  return [...before, `await ${show}(`, expression, ");"].join("\n");
}
